// SPDX-License-Identifier: MIT
#include "hostd/ctl/entitlements.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "hostd/base/size.h"
#include "hostd/ctl/session.h"
#include "hostd/ctl/views.h"
#include "hostd/ctl/vm_name.h"

namespace ebb {
namespace {

// 0 for "none".
absl::StatusOr<uint64_t> SizeOrNone(const std::string& text) {
  return text == "none" ? uint64_t{0} : ParseSize(text);
}

// Gives the order and prints what came of it.
int Order(const Invocation& invocation, const std::string& path, const std::string& body,
          const std::function<std::string(const Json&)>& result) {
  Session session(invocation);
  const std::optional<Json> answer = session.Call("PUT", path, body);
  if (!answer) return session.Fail();
  if (invocation.json) {
    PrintJson(*answer);
  } else {
    Print(result(*answer));
  }
  return kExitDone;
}

std::string BudgetResult(const Json& host) {
  const uint64_t budget = NumberField(host, "budget_bytes");
  if (budget == 0) {
    return "No budget any more. Limits set by hand stay; pages come back as the guests touch "
           "them.\n";
  }
  return absl::StrCat("All VMs share ", HumanSize(budget),
                      " of host memory; ebbd plans anew within a second. Watch it with: ebbctl "
                      "list\n");
}

std::string GuaranteeResult(const Json& vm) {
  const std::string name = TextField(vm, "name");
  const uint64_t guarantee = NumberField(vm, "guarantee_bytes");
  if (guarantee == 0) return absl::StrCat(name, ": no guarantee any more\n");
  return absl::StrCat(name, ": ", HumanSize(guarantee),
                      " stay resident, as far as the guest uses them\n");
}

std::string WeightResult(const Json& vm) {
  return absl::StrCat(TextField(vm, "name"), ": has a weight of ", NumberField(vm, "weight"),
                      " now; it counts while the host has a budget\n");
}

}  // namespace

int RunBudget(const Invocation& invocation) {
  const absl::StatusOr<uint64_t> bytes = SizeOrNone(invocation.arguments[0]);
  if (!bytes.ok()) return Complain(kExitUsage, MessageOf(bytes.status()));
  if (*bytes == 0 && invocation.arguments[0] != "none") {
    return Complain(kExitUsage, "0 is not a budget; to have none: ebbctl budget none");
  }
  return Order(invocation, "/v1/budget", absl::StrCat("{\"bytes\":", *bytes, "}"), BudgetResult);
}

int RunGuarantee(const Invocation& invocation) {
  const std::string& name = invocation.arguments[0];
  if (!IsVmName(name)) return ComplainAboutName(name);
  const absl::StatusOr<uint64_t> bytes = SizeOrNone(invocation.arguments[1]);
  if (!bytes.ok()) return Complain(kExitUsage, MessageOf(bytes.status()));
  if (*bytes == 0 && invocation.arguments[1] != "none") {
    return Complain(kExitUsage, absl::StrCat("0 is not a guarantee; to lift it: ebbctl guarantee ",
                                             name, " none"));
  }
  return Order(invocation, PathOf(name, "/guarantee"), absl::StrCat("{\"bytes\":", *bytes, "}"),
               GuaranteeResult);
}

int RunWeight(const Invocation& invocation) {
  const std::string& name = invocation.arguments[0];
  const std::string& text = invocation.arguments[1];
  if (!IsVmName(name)) return ComplainAboutName(name);
  uint64_t weight = 0;
  // SimpleAtoi takes signs and spaces, too.
  if (text.find_first_not_of("0123456789") != std::string::npos ||
      !absl::SimpleAtoi(text, &weight)) {
    return Complain(kExitUsage, absl::StrCat("\"", text,
                                             "\" is not a weight; weights are whole numbers from 1 "
                                             "to 10000, and 100 is what every VM has"));
  }
  return Order(invocation, PathOf(name, "/weight"), absl::StrCat("{\"weight\":", weight, "}"),
               WeightResult);
}

}  // namespace ebb
