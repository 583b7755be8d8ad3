// SPDX-License-Identifier: MIT
// heap_sample SEED MIB: fills its heap with what a C++ server has in it, in a life with many frees,
// says "ready" and waits for the end of its input. tests/bench/heap.py reads the heap meanwhile.
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

using Random = std::mt19937_64;

constexpr uint64_t kBytesPerMib = uint64_t{1} << 20;

struct Session {
  uint64_t id = 0;
  uint64_t customer = 0;
  std::string user;
  std::string path;
  std::vector<double> latencies;
  std::shared_ptr<std::string> token;
  int64_t created_ns = 0;
  uint32_t flags = 0;
};

std::string Token(Random* random, size_t length) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string token(length, '0');
  for (char& c : token) c = kDigits[(*random)() % 16];
  return token;
}

std::string Path(Random* random) {
  constexpr const char* kParts[] = {"api",    "v2",     "orders", "customers", "items",
                                    "search", "static", "images", "report",    "export"};
  std::string path;
  for (uint64_t depth = 2 + (*random)() % 4; depth > 0; --depth) {
    path += "/" + std::string(kParts[(*random)() % std::size(kParts)]);
  }
  return path + "/" + std::to_string((*random)() % 1000000);
}

// Sessions, indexes, measurements, vectors, digests and logs. A server's parts work in bursts, so
// that neighbouring pages are alike and distant ones are not.
class Server {
 public:
  explicit Server(uint64_t seed) : random_(seed) {}

  void Burst() {
    using Part = void (Server::*)();
    constexpr Part kParts[] = {&Server::AddSession,   &Server::AddSession,  &Server::AddSession,
                               &Server::AddPostings,  &Server::AddPostings, &Server::AddSeries,
                               &Server::AddEmbedding, &Server::AddDigests,  &Server::AddLog,
                               &Server::AddLog};
    const Part part = kParts[random_() % std::size(kParts)];
    for (uint64_t i = 20 + random_() % 400; i > 0; --i) (this->*part)();
    for (uint64_t i = random_() % 100; i > 0; --i) EndSession();
  }

 private:
  void AddSession() {
    auto session = std::make_unique<Session>();
    session->id = ++last_id_;
    session->customer = random_() % 100000;
    session->user = "user" + std::to_string(session->customer) + "@mail.example";
    session->path = Path(&random_);
    session->created_ns = 1700000000000000000 + static_cast<int64_t>(last_id_ * 12345678);
    session->latencies.resize(random_() % 12);
    for (double& latency : session->latencies) {
      latency = static_cast<double>(random_() % 100000) / 1000;
    }
    if (random_() % 2 == 0) session->token = std::make_shared<std::string>(Token(&random_, 40));
    by_user_[session->user].push_back(session.get());
    sessions_.emplace(session->id, std::move(session));
  }

  void EndSession() {
    if (last_id_ == 0) return;
    const auto found = sessions_.lower_bound(random_() % last_id_);
    if (found == sessions_.end()) return;
    std::erase(by_user_[found->second->user], found->second.get());
    sessions_.erase(found);
  }

  void AddPostings() {
    std::vector<uint32_t>& postings = index_[Path(&random_)];
    uint32_t document = static_cast<uint32_t>(random_() % 1000);
    for (uint64_t i = random_() % 200; i > 0; --i) {
      postings.push_back(document += 1 + static_cast<uint32_t>(random_() % 50));
    }
  }

  // What differs little from one to the next.
  void AddSeries() {
    std::deque<double>& series = series_[random_() % 200];
    double value = series.empty() ? 100 : series.back();
    for (int i = 0; i < 64; ++i) {
      series.push_back(value += static_cast<double>(random_() % 2001) / 100 - 10);
    }
    if (series.size() > 4096) series.erase(series.begin(), series.begin() + 2048);
  }

  void AddEmbedding() {
    std::normal_distribution<float> normal;
    std::vector<float>& embedding = embeddings_.emplace_back(96 + random_() % 64);
    for (float& part : embedding) part = normal(random_);
  }

  void AddDigests() {
    for (int i = 0; i < 8; ++i) seen_[random_()] = static_cast<uint32_t>(random_() % 1000);
  }

  void AddLog() {
    std::string line = "2026-11-03T12:" + std::to_string(10 + random_() % 50) + " INFO worker-" +
                       std::to_string(random_() % 8) + " GET " + Path(&random_) + " 200 ";
    line += std::to_string(random_() % 100000) + " us, peer 10.0." +
            std::to_string(random_() % 256) + "." + std::to_string(random_() % 256);
    log_.push_back(std::move(line));
  }

  Random random_;
  uint64_t last_id_ = 0;
  std::map<uint64_t, std::unique_ptr<Session>> sessions_;
  std::unordered_map<std::string, std::vector<Session*>> by_user_;
  std::unordered_map<std::string, std::vector<uint32_t>> index_;
  std::map<uint64_t, std::deque<double>> series_;
  std::vector<std::vector<float>> embeddings_;
  std::unordered_map<uint64_t, uint32_t> seen_;
  std::vector<std::string> log_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: heap_sample SEED MIB\n");
    return 2;
  }
  const uint64_t bytes = std::strtoull(argv[2], nullptr, 10) * kBytesPerMib;
  Server server(std::strtoull(argv[1], nullptr, 10));
  while (mallinfo2().uordblks < bytes) server.Burst();
  std::puts("ready");
  std::fflush(stdout);
  char byte;
  while (read(STDIN_FILENO, &byte, 1) > 0) {
  }
  return 0;
}
