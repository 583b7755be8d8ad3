// SPDX-License-Identifier: MIT
#include "tests/synthetic/qmp_server.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>

#include "tests/synthetic/die.h"

namespace ebb::synthetic {
namespace {

using Json = nlohmann::json;

constexpr char kGreeting[] =
    R"({"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, )"
    R"("package": "synthetic"}, "capabilities": []}})";

bool Say(const UniqueFd& client, const std::string& text) {
  const std::string line = text + "\r\n";
  return send(client.get(), line.data(), line.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(line.size());
}

Json Error(const char* kind, const std::string& text) {
  return {{"error", {{"class", kind}, {"desc", text}}}};
}

}  // namespace

QmpServer::QmpServer(const std::string& path, InFlight* in_flight)
    : in_flight_(in_flight), listener_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  unlink(path.c_str());
  if (bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener_.get(), 1) != 0) {
    Die("listening on the QMP socket");
  }
  thread_ = std::thread([this] { Run(); });
  thread_.detach();  // it ends with the process
}

void QmpServer::Run() {
  for (;;) {
    const UniqueFd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (client.valid() && Say(client, kGreeting)) Serve(client);
  }
}

void QmpServer::Serve(const UniqueFd& client) {
  std::array<char, 4096> buffer;
  std::string received;
  for (;;) {
    const ssize_t bytes = read(client.get(), buffer.data(), buffer.size());
    if (bytes <= 0) return;
    received.append(buffer.data(), static_cast<size_t>(bytes));
    for (size_t end; (end = received.find('\n')) != std::string::npos;) {
      const std::string line = received.substr(0, end);
      received.erase(0, end + 1);
      if (!Say(client, Answer(line))) return;
    }
  }
}

std::string QmpServer::Answer(const std::string& line) {
  const Json command = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!command.is_object() || !command.contains("execute")) {
    return Error("GenericError", "not a command").dump();
  }
  const std::string name = command["execute"].is_string() ? command["execute"] : Json("");
  // Without an exception inside, whose way out would read what was never read before.
  const Json::json_pointer place("/arguments/actions");
  const Json actions = command.contains(place) ? command[place] : Json();
  Json answer = {{"return", Json::object()}};
  if (name == "query-block") {
    answer["return"] = Json::array();
  } else if (name == "transaction" && actions == Json::array()) {
    in_flight_->Drain();
  } else if (name == "query-status") {
    answer["return"] = {{"status", "running"}, {"running", true}};
  } else if (name != "qmp_capabilities") {
    answer = Error("CommandNotFound", "the command " + name + " is not known");
  }
  if (command.contains("id")) answer["id"] = command["id"];
  return answer.dump();
}

}  // namespace ebb::synthetic
