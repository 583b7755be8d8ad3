// SPDX-License-Identifier: MIT
#include "hostd/control/routes.h"

#include <gtest/gtest.h>

#include "hostd/control/status_json.h"
#include "nlohmann/json.hpp"
#include "tests/hostd/control/fake_host.h"

namespace ebb {
namespace {

using nlohmann::ordered_json;

class RoutesTest : public testing::Test {
 protected:
  RoutesTest() { host_.Add(FakeHost::SomeVm("web")); }

  ApiResponse Ask(const std::string& method, const std::string& target,
                  const std::string& body = "") {
    return HandleRequest(host_, {method, target, body, {}});
  }

  // Checks the shape of an error and that the host was not asked for anything.
  void ExpectError(const ApiResponse& response, int http_status, const std::string& code,
                   const std::string& message_part) {
    EXPECT_EQ(response.http_status, http_status);
    const ordered_json json = ordered_json::parse(response.body, nullptr, false);
    ASSERT_TRUE(json.is_object()) << response.body;
    EXPECT_EQ(json.size(), 1u);
    ASSERT_TRUE(json.contains("error"));
    EXPECT_EQ(json["error"].size(), 2u);
    EXPECT_EQ(json["error"]["code"], code);
    const std::string message = json["error"]["message"].get<std::string>();
    EXPECT_NE(message.find(message_part), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
  void ExpectRefused(const ApiResponse& response, int http_status, const std::string& code,
                     const std::string& message_part) {
    ExpectError(response, http_status, code, message_part);
    EXPECT_TRUE(host_.Orders().empty());
  }

  FakeHost host_;
};

TEST_F(RoutesTest, StatusIsTheHosts) {
  const ApiResponse response = Ask("GET", "/v1/status");
  EXPECT_EQ(response.http_status, 200);
  EXPECT_EQ(response.body, Serialize(ToJson(host_.Status())));
}

TEST_F(RoutesTest, TiersAreListed) {
  ordered_json json = ordered_json::parse(Ask("GET", "/v1/tiers").body);
  ASSERT_EQ(json["tiers"].size(), 1u) << json;
  EXPECT_EQ(json["tiers"][0], ToJson(host_.Tiers()[0]));
  host_.SetDisk(FakeHost::SomeDisk());
  json = ordered_json::parse(Ask("GET", "/v1/tiers").body);
  ASSERT_EQ(json["tiers"].size(), 2u) << json;
  EXPECT_EQ(json["tiers"][1], ToJson(FakeHost::SomeDisk()));
  ExpectRefused(Ask("GET", "/v1/tiers", "{}"), 400, "invalid_argument", "GET takes no body");
  ExpectRefused(Ask("PUT", "/v1/tiers"), 405, "method_not_allowed", "GET");
}

TEST_F(RoutesTest, VmsAreListed) {
  host_.Add(FakeHost::SomeVm("db"));
  const ApiResponse response = Ask("GET", "/v1/vms");
  EXPECT_EQ(response.http_status, 200);
  const ordered_json json = ordered_json::parse(response.body);
  ASSERT_EQ(json.size(), 1u);
  ASSERT_EQ(json["vms"].size(), 2u);
  EXPECT_EQ(json["vms"][0], ToJson(FakeHost::SomeVm("db")));
  EXPECT_EQ(json["vms"][1], ToJson(FakeHost::SomeVm("web")));
}

TEST_F(RoutesTest, NoVmsAreAnEmptyList) {
  host_.Remove("web");
  EXPECT_EQ(Ask("GET", "/v1/vms").body, "{\"vms\":[]}");
}

TEST_F(RoutesTest, OneVmIsShown) {
  const ApiResponse response = Ask("GET", "/v1/vms/web");
  EXPECT_EQ(response.http_status, 200);
  EXPECT_EQ(ordered_json::parse(response.body), ToJson(FakeHost::SomeVm("web")));
}

TEST_F(RoutesTest, EventsAreListedFromTheFirstOrAfterOne) {
  EXPECT_EQ(Ask("GET", "/v1/events").body, "{\"events\":[],\"next\":0,\"lost\":0}");
  host_.events().Add(EventKind::kVmAttached, "web", "web is attached");
  host_.events().Add(EventKind::kStopRefused, "", "ebbd runs on: \xff");
  const ApiResponse all = Ask("GET", "/v1/events");
  EXPECT_EQ(all.http_status, 200);
  EXPECT_EQ(all.body, Serialize(ToJson(host_.EventsAfter(0))));
  EXPECT_EQ(Ask("GET", "/v1/events?after=0").body, all.body);
  const ordered_json later = ordered_json::parse(Ask("GET", "/v1/events?after=1").body);
  ASSERT_EQ(later["events"].size(), 1u);
  EXPECT_EQ(later["events"][0]["kind"], "stop_refused");
  EXPECT_EQ(later["next"], 2);
  EXPECT_EQ(ordered_json::parse(Ask("GET", "/v1/events?after=18446744073709551615").body)["next"],
            2);
}

TEST_F(RoutesTest, RefusesOtherQueriesForEvents) {
  for (const char* query :
       {"?", "?after", "?after=", "?after=-1", "?after=+1", "?after= 1", "?after=1 ", "?after=0x1",
        "?after=1.5", "?after=18446744073709551616", "?After=1", "?after=1&after=2", "?before=1",
        "?after=1?", "?after=%31", "?after=1#x"}) {
    ExpectRefused(Ask("GET", std::string("/v1/events") + query), 400, "invalid_argument",
                  "after=SEQ");
  }
}

TEST_F(RoutesTest, OrdersSayWhoGaveThem) {
  struct Case {
    const char* method;
    const char* action;
    const char* body;
  };
  int pid = 100;
  for (const Case& c :
       {Case{"PUT", "limit", R"({"bytes":1})"}, Case{"PUT", "guarantee", R"({"bytes":1})"},
        Case{"PUT", "weight", R"({"weight":1})"}, Case{"POST", "swap-out", R"({"to_bytes":1})"},
        Case{"POST", "swap-in", ""}, Case{"POST", "detach", ""}, Case{"POST", "attach", ""}}) {
    ApiRequest request;
    request.method = c.method;
    request.target = std::string("/v1/vms/web/") + c.action;
    request.body = c.body;
    request.caller = {1000, ++pid};
    EXPECT_EQ(HandleRequest(host_, request).http_status, 200) << c.action;
    EXPECT_EQ(host_.LastCaller().uid, 1000u);
    EXPECT_EQ(host_.LastCaller().pid, pid);
  }
}

TEST_F(RoutesTest, WhoMayOnlyLookIsToldWhereOrdersGo) {
  for (const char* method : {"PUT", "POST", "DELETE", "HEAD", "OPTIONS", "get", ""}) {
    for (const char* target : {"/v1/vms/web/limit", "/v1/vms/web/swap-in", "/v1/status", "/no"}) {
      ApiRequest request = {method, target, R"({"bytes":1})", {}};
      request.orders_go_to = "/run/ebb/control.sock";
      ExpectRefused(HandleRequest(host_, request), 403, "permission_denied",
                    "orders go to /run/ebb/control.sock");
    }
  }
  ApiRequest request = {"GET", "/v1/vms/web", "", {}};
  request.orders_go_to = "/run/ebb/control.sock";
  EXPECT_EQ(HandleRequest(host_, request).body, Ask("GET", "/v1/vms/web").body);
}

TEST_F(RoutesTest, LimitIsSetAndLifted) {
  ApiResponse response = Ask("PUT", "/v1/vms/web/limit", R"({"bytes":134217728})");
  EXPECT_EQ(response.http_status, 200);
  EXPECT_EQ(ordered_json::parse(response.body)["limit_bytes"], 134217728u);
  response = Ask("PUT", "/v1/vms/web/limit", " { \"bytes\" : 0 } \n");
  EXPECT_EQ(ordered_json::parse(response.body)["limit_bytes"], 0u);
  EXPECT_EQ(host_.Orders(), (std::vector<std::string>{"limit web 134217728", "limit web 0"}));
}

TEST_F(RoutesTest, BudgetIsSharedByGuaranteeAndWeight) {
  ApiResponse response = Ask("PUT", "/v1/budget", R"({"bytes":1610612736})");
  EXPECT_EQ(response.http_status, 200);
  EXPECT_EQ(ordered_json::parse(response.body)["budget_bytes"], 1610612736u);
  response = Ask("PUT", "/v1/vms/web/guarantee", R"({"bytes":134217728})");
  EXPECT_EQ(ordered_json::parse(response.body)["guarantee_bytes"], 134217728u);
  response = Ask("PUT", "/v1/vms/web/weight", R"({"weight":250})");
  EXPECT_EQ(ordered_json::parse(response.body)["weight"], 250u);
  EXPECT_EQ(host_.Orders(), (std::vector<std::string>{
                                "budget 1610612736", "guarantee web 134217728", "weight web 250"}));
  ExpectError(Ask("PUT", "/v1/vms/web/weight", R"({"bytes":1})"), 400, "invalid_argument",
              "unknown field");
}

TEST_F(RoutesTest, TheLargestNumberArrivesWhole) {
  EXPECT_EQ(Ask("PUT", "/v1/vms/web/limit", R"({"bytes":18446744073709551615})").http_status, 200);
  EXPECT_EQ(host_.Orders(), std::vector<std::string>{"limit web 18446744073709551615"});
}

TEST_F(RoutesTest, SwapOutStarts) {
  const ApiResponse response = Ask("POST", "/v1/vms/web/swap-out", R"({"to_bytes":4096})");
  EXPECT_EQ(response.http_status, 200);
  EXPECT_EQ(ordered_json::parse(response.body)["swap_out_target_bytes"], 4096u);
  EXPECT_EQ(host_.Orders(), std::vector<std::string>{"swap-out web 4096"});
}

TEST_F(RoutesTest, SwapInTakesNoBodyOrAnEmptyObject) {
  for (const char* body : {"", "{}", " { } "}) {
    const ApiResponse response = Ask("POST", "/v1/vms/web/swap-in", body);
    EXPECT_EQ(response.http_status, 200) << body;
    EXPECT_EQ(ordered_json::parse(response.body)["swap_in_remaining_bytes"], 700 * kMiB);
  }
  EXPECT_EQ(host_.Orders().size(), 3u);
}

TEST_F(RoutesTest, DetachAndAttachTakeNoBodyOrAnEmptyObject) {
  EXPECT_EQ(ordered_json::parse(Ask("POST", "/v1/vms/web/detach").body)["state"], "detaching");
  EXPECT_EQ(Ask("POST", "/v1/vms/web/attach", "{}").http_status, 200);
  EXPECT_EQ(host_.Orders(), (std::vector<std::string>{"detach web", "attach web"}));
  ExpectError(Ask("POST", "/v1/vms/db/detach"), 404, "not_found", "db");
}

TEST_F(RoutesTest, RefusesBodiesThatAreNotAsked) {
  struct Case {
    const char* body;
    const char* message_part;
  };
  const Case kCases[] = {
      {"", "the body is empty"},
      {"garbage", "not JSON"},
      {"{\"bytes\":1", "not JSON"},
      {"{\"bytes\":1}{\"bytes\":2}", "not JSON"},
      {"{\"bytes\":1} x", "not JSON"},
      {"{\"bytes\":0x10}", "not JSON"},
      {"{\"bytes\":NaN}", "not JSON"},
      {"{'bytes':1}", "not JSON"},
      {"{\"bytes\":\"\xff\"}", "not JSON"},
      {"{\"bytes\":1e999}", "not JSON"},
      {"[1]", "not a JSON object"},
      {"1", "not a JSON object"},
      {"null", "not a JSON object"},
      {"\"bytes\"", "not a JSON object"},
      {"{}", "\"bytes\" is missing"},
      {"{\"bytes\":-1}", "whole number"},
      {"{\"bytes\":-0}", "whole number"},
      {"{\"bytes\":1.5}", "whole number"},
      {"{\"bytes\":1e3}", "whole number"},
      {"{\"bytes\":18446744073709551616}", "whole number"},
      {"{\"bytes\":99999999999999999999999999}", "whole number"},
      {"{\"bytes\":\"1\"}", "whole number"},
      {"{\"bytes\":null}", "whole number"},
      {"{\"bytes\":true}", "whole number"},
      {"{\"bytes\":[1]}", "whole number"},
      {"{\"bytes\":{\"bytes\":1}}", "whole number"},
      {"{\"to_bytes\":1}", "unknown field \"to_bytes\""},
      {"{\"bytes\":1,\"unit\":\"M\"}", "unknown field \"unit\""},
      {"{\"Bytes\":1}", "unknown field \"Bytes\""},
      {"{\"\\u001b[31m\\n\":1}", "unknown field"},
      {"{\"bytes\":1,\"bytes\":2}", "more than once"},
      {"{\"bytes\":1,\"b\\u0079tes\":1}", "more than once"},
  };
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.body);
    ExpectRefused(Ask("PUT", "/v1/vms/web/limit", c.body), 400, "invalid_argument", c.message_part);
  }
  ExpectRefused(Ask("POST", "/v1/vms/web/swap-out", "{\"bytes\":1}"), 400, "invalid_argument",
                "send {\"to_bytes\":N}");
  ExpectRefused(Ask("POST", "/v1/vms/web/swap-in", "{\"bytes\":1}"), 400, "invalid_argument",
                "send no body, or {}");
  for (const char* path : {"/v1/vms/web/swap-in", "/v1/vms/web/detach", "/v1/vms/web/attach"}) {
    ExpectRefused(Ask("POST", path, "[]"), 400, "invalid_argument", "not a JSON object");
  }
  ExpectRefused(Ask("GET", "/v1/vms/web", "{}"), 400, "invalid_argument", "no body");
  ExpectRefused(Ask("GET", "/v1/status", "x"), 400, "invalid_argument", "no body");
  EXPECT_EQ(host_.Vm("web")->limit_bytes, 256 * kMiB);
}

// A tree of these would be destroyed recursively, on the daemon's stack.
TEST_F(RoutesTest, RefusesADeeplyNestedBody) {
  const std::string arrays = std::string(30000, '[') + std::string(30000, ']');
  ExpectRefused(Ask("PUT", "/v1/vms/web/limit", arrays), 400, "invalid_argument",
                "not a JSON object");
  ExpectRefused(Ask("PUT", "/v1/vms/web/limit", "{\"bytes\":" + arrays + "}"), 400,
                "invalid_argument", "whole number");
  std::string objects;
  for (int i = 0; i < 6000; ++i) objects += "{\"bytes\":";
  ExpectRefused(Ask("PUT", "/v1/vms/web/limit", objects), 400, "invalid_argument", "whole number");
  ExpectRefused(Ask("POST", "/v1/vms/web/swap-in", "{\"a\":" + arrays + "}"), 400,
                "invalid_argument", "unknown field");
}

TEST_F(RoutesTest, RefusesATooLargeBody) {
  std::string body = "{\"bytes\":1}";
  body.resize(kMaxRequestBodyBytes, ' ');
  EXPECT_EQ(Ask("PUT", "/v1/vms/web/limit", body).http_status, 200);
  ExpectError(Ask("PUT", "/v1/vms/web/limit", body + " "), 413, "payload_too_large", "64 KiB");
  EXPECT_EQ(host_.Orders().size(), 1u);
}

TEST_F(RoutesTest, RefusesNamesThatAreNone) {
  const std::string kNames[] = {"",
                                "we b",
                                "web%20",
                                "%77eb",
                                "web%00",
                                "w\xc3\xa9"
                                "b",
                                "we;b",
                                "\xff\xff",
                                "we\nb",
                                "we\"b",
                                "*",
                                "web%2Flimit",
                                "web:1",
                                std::string(64, 'a'),
                                "we\\b",
                                "{}",
                                "we+b"};
  for (const std::string& name : kNames) {
    SCOPED_TRACE(name);
    ExpectRefused(Ask("GET", "/v1/vms/" + name), 400, "invalid_argument", "not a VM name");
    ExpectRefused(Ask("PUT", "/v1/vms/" + name + "/limit", R"({"bytes":1})"), 400,
                  "invalid_argument", "not a VM name");
    ExpectRefused(Ask("POST", "/v1/vms/" + name + "/swap-out", R"({"to_bytes":1})"), 400,
                  "invalid_argument", "not a VM name");
    ExpectRefused(Ask("POST", "/v1/vms/" + name + "/swap-in"), 400, "invalid_argument",
                  "not a VM name");
  }
}

TEST_F(RoutesTest, TakesEveryNameThatIsOne) {
  for (const std::string& name :
       {std::string("a"), std::string(63, 'z'), std::string("A-Z_0.9"), std::string("."),
        std::string(".."), std::string("-"), std::string("limit"), std::string("swap-in")}) {
    host_.Add(FakeHost::SomeVm(name));
    EXPECT_EQ(Ask("GET", "/v1/vms/" + name).http_status, 200) << name;
    EXPECT_EQ(Ask("PUT", "/v1/vms/" + name + "/limit", R"({"bytes":1})").http_status, 200) << name;
  }
}

TEST_F(RoutesTest, NamesAreCaseSensitive) {
  ExpectRefused(Ask("GET", "/v1/vms/WEB"), 404, "not_found", "\"WEB\"");
}

TEST_F(RoutesTest, UnknownVmIsNotFound) {
  ExpectError(Ask("GET", "/v1/vms/db"), 404, "not_found", "db");
  ExpectError(Ask("PUT", "/v1/vms/db/limit", R"({"bytes":1})"), 404, "not_found", "db");
  ExpectError(Ask("POST", "/v1/vms/db/swap-out", R"({"to_bytes":1})"), 404, "not_found", "db");
  ExpectError(Ask("POST", "/v1/vms/db/swap-in"), 404, "not_found", "db");
}

TEST_F(RoutesTest, UnknownPathIsNotFound) {
  for (const char* path : {"",
                           "/",
                           "*",
                           "/v1",
                           "/v1/",
                           "/v2/status",
                           "/v1/Status",
                           "/v1/status/",
                           "//v1/status",
                           "/v1//status",
                           "/v1/vm",
                           "/v1/vms/web/",
                           "/v1/vms/web/limit/",
                           "/v1/vms/web/limit/x",
                           "/v1/vms//",
                           "/v1/vms/web/reboot",
                           "/v1/vms/web//limit",
                           "/v1/vms/../status",
                           "v1/status",
                           "http://localhost/v1/status",
                           "/v1/%73tatus",
                           "/v1/status\xff"}) {
    SCOPED_TRACE(path);
    ExpectRefused(Ask("GET", path), 404, "not_found", "no such path");
  }
  ExpectRefused(Ask("GET", std::string(60000, '/')), 404, "not_found", "...");
}

TEST_F(RoutesTest, OtherMethodsAreNotAllowed) {
  struct Case {
    const char* path;
    const char* allow;
  };
  for (const Case& c :
       {Case{"/v1/status", "GET"}, Case{"/v1/vms", "GET"}, Case{"/v1/vms/web", "GET"},
        Case{"/v1/vms/web/limit", "PUT"}, Case{"/v1/events", "GET"}, Case{"/v1/budget", "PUT"},
        Case{"/v1/vms/web/guarantee", "PUT"}, Case{"/v1/vms/web/weight", "PUT"},
        Case{"/v1/vms/web/swap-out", "POST"}, Case{"/v1/vms/web/swap-in", "POST"},
        Case{"/v1/vms/web/detach", "POST"}, Case{"/v1/vms/web/attach", "POST"}}) {
    for (const char* method :
         {"GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "get", "FROB", ""}) {
      if (method == std::string(c.allow)) continue;
      SCOPED_TRACE(std::string(method) + " " + c.path);
      const ApiResponse response = Ask(method, c.path, R"({"bytes":1})");
      ExpectRefused(response, 405, "method_not_allowed", c.allow);
      EXPECT_EQ(response.allow, c.allow);
    }
  }
}

TEST_F(RoutesTest, RefusesQueryParameters) {
  ExpectRefused(Ask("GET", "/v1/status?verbose=1"), 400, "invalid_argument", "query");
  ExpectRefused(Ask("PUT", "/v1/vms/web/limit?bytes=1", R"({"bytes":1})"), 400, "invalid_argument",
                "query");
  ExpectRefused(Ask("POST", "/v1/vms/web/swap-in?"), 400, "invalid_argument", "query");
}

TEST_F(RoutesTest, ErrorsOfTheHostKeepTheirKindAndMessage) {
  struct Case {
    absl::Status status;
    int http_status;
    const char* code;
  };
  const Case kCases[] = {
      {absl::InvalidArgumentError("the reason"), 400, "invalid_argument"},
      {absl::OutOfRangeError("the reason"), 400, "invalid_argument"},
      {absl::NotFoundError("the reason"), 404, "not_found"},
      {absl::FailedPreconditionError("the reason"), 409, "failed_precondition"},
      {absl::InternalError("the reason"), 500, "internal"},
      {absl::UnknownError("the reason"), 500, "internal"},
      {absl::UnavailableError("the reason"), 503, "unavailable"},
      {absl::ResourceExhaustedError("the reason"), 503, "unavailable"},
      {absl::InternalError("the reason \xff"), 500, "internal"},
  };
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.status.ToString());
    host_.Refuse(c.status);
    ExpectError(Ask("PUT", "/v1/vms/web/limit", R"({"bytes":1})"), c.http_status, c.code,
                "the reason");
    ExpectError(Ask("POST", "/v1/vms/web/swap-out", R"({"to_bytes":1})"), c.http_status, c.code,
                "the reason");
    ExpectError(Ask("POST", "/v1/vms/web/swap-in"), c.http_status, c.code, "the reason");
  }
}

TEST_F(RoutesTest, AVmThatEndsDuringTheRequestIsNotFound) {
  host_.OnRead([](VmStatus&) { return false; });
  EXPECT_EQ(Ask("GET", "/v1/vms/web").http_status, 200);
  ExpectError(Ask("PUT", "/v1/vms/web/limit", R"({"bytes":1})"), 404, "not_found", "web");
}

}  // namespace
}  // namespace ebb
