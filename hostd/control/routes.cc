// SPDX-License-Identifier: MIT
#include "hostd/control/routes.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "hostd/base/status_macros.h"
#include "hostd/control/status_json.h"
#include "nlohmann/json.hpp"

namespace ebb {
namespace {

using nlohmann::ordered_json;

constexpr size_t kMaxNameBytes = 63;
constexpr size_t kMaxQuotedBytes = 80;

struct ErrorKind {
  int http_status;
  const char* code;
};
constexpr ErrorKind kInvalidArgument = {400, "invalid_argument"};
constexpr ErrorKind kPermissionDenied = {403, "permission_denied"};
constexpr ErrorKind kNotFound = {404, "not_found"};
constexpr ErrorKind kMethodNotAllowed = {405, "method_not_allowed"};
constexpr ErrorKind kFailedPrecondition = {409, "failed_precondition"};
constexpr ErrorKind kPayloadTooLarge = {413, "payload_too_large"};
constexpr ErrorKind kInternal = {500, "internal"};
constexpr ErrorKind kUnavailable = {503, "unavailable"};

ApiResponse Error(const ErrorKind& kind, const std::string& message) {
  const ordered_json body = {{"error", {{"code", kind.code}, {"message", message}}}};
  return {kind.http_status, Serialize(body), ""};
}

const ErrorKind& KindOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return kInvalidArgument;
    case absl::StatusCode::kNotFound:
      return kNotFound;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kAborted:
      return kFailedPrecondition;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kDeadlineExceeded:
      return kUnavailable;
    default:
      return kInternal;
  }
}

ApiResponse Error(const absl::Status& status) {
  return Error(KindOf(status.code()),
               std::string(status.message().data(), status.message().size()));
}

ApiResponse Ok(const ordered_json& json) { return {200, Serialize(json), ""}; }

// Text from the client inside a message: quoted, on one line, not longer than a reader wants.
std::string Quoted(std::string_view text) {
  std::string shown(text.substr(0, kMaxQuotedBytes));
  if (text.size() > kMaxQuotedBytes) shown += "...";
  return ordered_json(shown).dump(-1, ' ', /*ensure_ascii=*/true,
                                  ordered_json::error_handler_t::replace);
}

bool IsNameChar(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

bool IsVmName(std::string_view name) {
  if (name.empty() || name.size() > kMaxNameBytes) return false;
  for (char c : name) {
    if (!IsNameChar(c)) return false;
  }
  return true;
}

enum class Resource {
  kStatus,
  kTiers,
  kEvents,
  kVms,
  kVm,
  kBudget,
  kLimit,
  kGuarantee,
  kWeight,
  kSwapOut,
  kSwapIn,
  kDetach,
  kAttach,
};

struct Route {
  const char* method;  // the only one that the path takes
  std::string_view path;
  Resource resource;
};
// The whole API. A test reads this table, and compares it with docs/openapi.json.
constexpr std::string_view kName = "{name}";
constexpr Route kRoutes[] = {
    {"GET", "/v1/status", Resource::kStatus},
    {"GET", "/v1/tiers", Resource::kTiers},
    {"GET", "/v1/events", Resource::kEvents},
    {"GET", "/v1/vms", Resource::kVms},
    {"GET", "/v1/vms/{name}", Resource::kVm},
    {"PUT", "/v1/budget", Resource::kBudget},
    {"PUT", "/v1/vms/{name}/limit", Resource::kLimit},
    {"PUT", "/v1/vms/{name}/guarantee", Resource::kGuarantee},
    {"PUT", "/v1/vms/{name}/weight", Resource::kWeight},
    {"POST", "/v1/vms/{name}/swap-out", Resource::kSwapOut},
    {"POST", "/v1/vms/{name}/swap-in", Resource::kSwapIn},
    {"POST", "/v1/vms/{name}/detach", Resource::kDetach},
    {"POST", "/v1/vms/{name}/attach", Resource::kAttach},
};

struct Target {
  const Route* route;
  std::optional<std::string> vm_name;  // as sent; none where the path has none
};

// The part of `path` that stands for the name in `route`; "" where there is none. Nothing where the
// path is another one.
std::optional<std::string_view> MatchName(std::string_view route, std::string_view path) {
  const size_t at = route.find(kName);
  if (at == std::string_view::npos) {
    return path == route ? std::optional<std::string_view>("") : std::nullopt;
  }
  const std::string_view after = route.substr(at + kName.size());
  if (path.size() < at + after.size() || path.substr(0, at) != route.substr(0, at)) {
    return std::nullopt;
  }
  const std::string_view name = path.substr(at, path.size() - at - after.size());
  const bool is_one_part = name.find('/') == std::string_view::npos;
  return is_one_part && path.substr(at + name.size()) == after
             ? std::optional<std::string_view>(name)
             : std::nullopt;
}

std::optional<Target> ParsePath(std::string_view path) {
  for (const Route& route : kRoutes) {
    const std::optional<std::string_view> name = MatchName(route.path, path);
    if (!name) continue;
    const bool has_name = route.path.find(kName) != std::string_view::npos;
    return Target{&route, has_name ? std::optional<std::string>(*name) : std::nullopt};
  }
  return std::nullopt;
}

// Reads a body that is an object with at most one field, a number. Event by event and never more
// than one level deep: a tree of a body nested 30,000 times would be copied and destroyed
// recursively, and ebbd's stack is not the client's to use up.
class BodyReader : public nlohmann::json_sax<ordered_json> {
 public:
  // `field` may be null: the object has to be empty. `expected` is for messages.
  BodyReader(const char* field, std::string expected)
      : field_(field), expected_(std::move(expected)) {}

  // Nothing when the field is not there.
  absl::StatusOr<std::optional<uint64_t>> Read(const std::string& body) {
    if (!ordered_json::sax_parse(body, this)) return Bad(problem_);
    return value_;
  }

  absl::Status Bad(const std::string& problem) const {
    return absl::InvalidArgumentError(absl::StrCat(problem, "; send ", expected_));
  }

  bool number_unsigned(uint64_t value) override {
    if (!in_object_) return RefuseValue();
    value_ = value;
    return true;
  }
  // Negative, fractional and too large numbers are other kinds to the parser.
  bool number_integer(int64_t) override { return RefuseValue(); }
  bool number_float(double, const std::string&) override { return RefuseValue(); }
  bool null() override { return RefuseValue(); }
  bool boolean(bool) override { return RefuseValue(); }
  bool string(std::string&) override { return RefuseValue(); }
  bool binary(ordered_json::binary_t&) override { return RefuseValue(); }
  bool start_array(size_t) override { return RefuseValue(); }
  bool end_array() override { return true; }

  bool start_object(size_t) override {
    if (in_object_) return RefuseValue();
    in_object_ = true;
    return true;
  }
  bool end_object() override { return true; }

  // Of two values for one field, silently taking either would be a guess.
  bool key(std::string& name) override {
    if (field_ == nullptr || name != field_) {
      return Refuse(absl::StrCat("unknown field ", Quoted(name)));
    }
    if (value_) return Refuse(absl::StrCat("field ", Quoted(name), " is given more than once"));
    return true;
  }

  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override {
    return Refuse("the body is not JSON");
  }

 private:
  bool Refuse(const std::string& problem) {
    problem_ = problem;
    return false;
  }
  bool RefuseValue() {
    if (!in_object_) return Refuse("the body is not a JSON object");
    return Refuse(absl::StrCat(Quoted(field_), " is not a whole number from 0 to 2^64-1"));
  }

  const char* const field_;
  const std::string expected_;
  bool in_object_ = false;
  std::optional<uint64_t> value_;
  std::string problem_;
};

absl::StatusOr<uint64_t> ParseNumber(const std::string& body, const char* field) {
  BodyReader reader(field, absl::StrCat("{\"", field, "\":N}"));
  if (body.empty()) return reader.Bad("the body is empty");
  EBB_ASSIGN_OR_RETURN(const std::optional<uint64_t> number, reader.Read(body));
  if (!number) return reader.Bad(absl::StrCat("field ", Quoted(field), " is missing"));
  return *number;
}

absl::Status RequireNoBody(const std::string& body) {
  if (body.empty()) return absl::OkStatus();
  return BodyReader(nullptr, "no body, or {}").Read(body).status();
}

// Checks the body and does what is asked; nothing has changed when this fails.
absl::Status Act(Host& host, const Target& target, const ApiRequest& request) {
  const std::string name = target.vm_name.value_or("");
  switch (target.route->resource) {
    case Resource::kStatus:
    case Resource::kTiers:
    case Resource::kEvents:
    case Resource::kVms:
    case Resource::kVm:
      if (!request.body.empty()) return absl::InvalidArgumentError("GET takes no body");
      return absl::OkStatus();
    case Resource::kBudget: {
      EBB_ASSIGN_OR_RETURN(const uint64_t bytes, ParseNumber(request.body, "bytes"));
      return host.SetBudget(bytes, request.caller);
    }
    case Resource::kLimit: {
      EBB_ASSIGN_OR_RETURN(const uint64_t bytes, ParseNumber(request.body, "bytes"));
      return host.SetLimit(name, bytes, request.caller);
    }
    case Resource::kGuarantee: {
      EBB_ASSIGN_OR_RETURN(const uint64_t bytes, ParseNumber(request.body, "bytes"));
      return host.SetGuarantee(name, bytes, request.caller);
    }
    case Resource::kWeight: {
      EBB_ASSIGN_OR_RETURN(const uint64_t weight, ParseNumber(request.body, "weight"));
      return host.SetWeight(name, weight, request.caller);
    }
    case Resource::kSwapOut: {
      EBB_ASSIGN_OR_RETURN(const uint64_t to_bytes, ParseNumber(request.body, "to_bytes"));
      return host.SwapOut(name, to_bytes, request.caller);
    }
    case Resource::kSwapIn:
      EBB_RETURN_IF_ERROR(RequireNoBody(request.body));
      return host.SwapIn(name, request.caller);
    case Resource::kDetach:
      EBB_RETURN_IF_ERROR(RequireNoBody(request.body));
      return host.Detach(name, request.caller);
    case Resource::kAttach:
      EBB_RETURN_IF_ERROR(RequireNoBody(request.body));
      return host.Attach(name, request.caller);
  }
  return absl::InternalError("unreachable");
}

// The number in "after=NUMBER"; 0 without a query.
absl::StatusOr<uint64_t> ParseAfter(std::string_view query) {
  constexpr std::string_view kAfter = "?after=";
  if (query.empty()) return 0;
  uint64_t seq = 0;
  if (query.substr(0, kAfter.size()) == kAfter) {
    const std::string_view digits = query.substr(kAfter.size());
    // SimpleAtoi takes signs and spaces, too.
    if (digits.find_first_not_of("0123456789") == std::string_view::npos &&
        absl::SimpleAtoi(absl::string_view(digits.data(), digits.size()), &seq)) {
      return seq;
    }
  }
  return absl::InvalidArgumentError(
      "the only query parameter is after=SEQ, a whole number from 0 to 2^64-1");
}

ApiResponse ShowEvents(const Host& host, std::string_view query) {
  const absl::StatusOr<uint64_t> after = ParseAfter(query);
  return after.ok() ? Ok(ToJson(host.EventsAfter(*after))) : Error(after.status());
}

ApiResponse Show(const Host& host, const Target& target, std::string_view query) {
  switch (target.route->resource) {
    case Resource::kStatus:
    case Resource::kBudget:
      return Ok(ToJson(host.Status()));
    case Resource::kTiers: {
      ordered_json tiers = ordered_json::array();
      for (const TierStatus& tier : host.Tiers()) tiers.push_back(ToJson(tier));
      return Ok({{"tiers", std::move(tiers)}});
    }
    case Resource::kEvents:
      return ShowEvents(host, query);
    case Resource::kVms: {
      ordered_json vms = ordered_json::array();
      for (const VmStatus& vm : host.Vms()) vms.push_back(ToJson(vm));
      return Ok({{"vms", std::move(vms)}});
    }
    default: {
      const absl::StatusOr<VmStatus> vm = host.Vm(target.vm_name.value_or(""));
      return vm.ok() ? Ok(ToJson(*vm)) : Error(vm.status());
    }
  }
}

}  // namespace

ApiResponse PayloadTooLarge() {
  return Error(kPayloadTooLarge,
               absl::StrCat("the body is larger than ", kMaxRequestBodyBytes / 1024, " KiB"));
}

ApiResponse HandleRequest(Host& host, const ApiRequest& request) {
  if (!request.orders_go_to.empty() && request.method != "GET") {
    return Error(kPermissionDenied,
                 absl::StrCat("this socket only answers GET; orders go to ", request.orders_go_to));
  }
  if (request.body.size() > kMaxRequestBodyBytes) return PayloadTooLarge();

  const std::string_view full = request.target;
  const std::string_view path = full.substr(0, full.find('?'));
  const std::optional<Target> target = ParsePath(path);
  if (!target) return Error(kNotFound, absl::StrCat("no such path: ", Quoted(path)));

  const char* method = target->route->method;
  if (request.method != method) {
    ApiResponse response =
        Error(kMethodNotAllowed, absl::StrCat("this path takes ", method, " only"));
    response.allow = method;
    return response;
  }
  const std::string_view query = full.substr(path.size());
  if (!query.empty() && target->route->resource != Resource::kEvents) {
    return Error(kInvalidArgument, "this path takes no query parameters");
  }
  // Not decoded: no name needs it, and two spellings of one name would invite mistakes.
  if (target->vm_name && !IsVmName(*target->vm_name)) {
    return Error(kInvalidArgument,
                 absl::StrCat("not a VM name: ", Quoted(*target->vm_name), "; names are 1 to ",
                              kMaxNameBytes, " characters of A-Z a-z 0-9 _ . -, not encoded"));
  }
  if (absl::Status acted = Act(host, *target, request); !acted.ok()) return Error(acted);
  return Show(host, *target, query);
}

}  // namespace ebb
