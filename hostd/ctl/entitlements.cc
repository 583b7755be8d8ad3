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

// 0 for "none", and for nothing else. `command` and what follows it gave the size.
absl::StatusOr<uint64_t> SizeOrNone(const std::string& text, const std::string& command) {
  if (text == "none") return 0;
  absl::StatusOr<uint64_t> bytes = ParseSize(text);
  if (bytes.ok() && *bytes == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("0 is no size for this; for none: ebbctl ", command, " none"));
  }
  return bytes;
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

std::string BytesBody(uint64_t bytes) { return absl::StrCat("{\"bytes\":", bytes, "}"); }

// `command` is the last part of its path, too.
int RunSizeOfVm(const Invocation& invocation, const std::string& command,
                const std::function<std::string(const Json&)>& result) {
  const std::string& name = invocation.arguments[0];
  if (!IsVmName(name)) return ComplainAboutName(name);
  const absl::StatusOr<uint64_t> bytes =
      SizeOrNone(invocation.arguments[1], absl::StrCat(command, " ", name));
  if (!bytes.ok()) return Complain(kExitUsage, MessageOf(bytes.status()));
  return Order(invocation, absl::StrCat(PathOf(name), "/", command), BytesBody(*bytes), result);
}

std::string LimitResult(const Json& vm) {
  const std::string name = TextField(vm, "name");
  const uint64_t limit = NumberField(vm, "limit_bytes");
  const uint64_t resident = NumberField(vm, "resident_bytes");
  const std::string budget =
      IsHeldByBudget(vm)
          ? absl::StrCat("Its part of the host's budget is ",
                         HumanSize(NumberField(vm, "target_bytes")), " resident now.\n")
          : "";
  if (limit == 0) {
    std::string text =
        absl::StrCat(name, ": no limit any more; ", MemoryInOneLine(vm), "\n", budget);
    if (NumberField(vm, "swapped_bytes") > 0 && budget.empty()) {
      absl::StrAppend(&text,
                      "Pages come back as the guest touches them; all at once: ", "ebbctl swap-in ",
                      name, "\n");
    }
    return text;
  }
  std::string text = absl::StrCat(name, ": limited to ", HumanSize(limit), " resident; now ",
                                  MemoryInOneLine(vm), "\n", budget);
  if (resident > limit) {
    absl::StrAppend(&text, "Ebb now swaps out until it fits. Watch it with: ebbctl show ", name,
                    "\n");
  }
  return text;
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
  const absl::StatusOr<uint64_t> bytes = SizeOrNone(invocation.arguments[0], "budget");
  if (!bytes.ok()) return Complain(kExitUsage, MessageOf(bytes.status()));
  return Order(invocation, "/v1/budget", BytesBody(*bytes), BudgetResult);
}

int RunLimit(const Invocation& invocation) { return RunSizeOfVm(invocation, "limit", LimitResult); }

int RunGuarantee(const Invocation& invocation) {
  return RunSizeOfVm(invocation, "guarantee", GuaranteeResult);
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
