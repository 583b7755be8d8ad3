// SPDX-License-Identifier: MIT
#include "hostd/peers/qemu/qmp_barrier.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "hostd/base/clock.h"
#include "hostd/base/unique_fd.h"
#include "tests/hostd/os/temporary_folder.h"
#include "tests/hostd/peers/qemu/qmp_test_server.h"

namespace ebb {
namespace {

constexpr char kUnlimited[] =
    R"({"return": [{"device": "d0", "inserted": {"bps": 0, "iops": 0}}, {"device": "cd"}]})";
constexpr char kThrottled[] =
    R"({"return": [{"device": "d0", "inserted": {"bps": 0, "iops_wr": 100}}]})";

constexpr char kThere[] = R"({"return": {"status": "running", "running": true}})";

class QmpBarrierTest : public testing::Test {
 protected:
  QmpBarrierTest() {
    QmpBarrier::Options options;
    options.vm_name = "vm1";
    options.qmp_path = server_.path();
    options.pid = server_.pid();
    options.peers_wake = &wake_;
    options.sys_block_folder = folder_.File("sys");
    barrier_ = std::make_unique<QmpBarrier>(std::move(options));
    barrier_->SetCompletedCallback([this] { ++completed_; });
  }

  // The peers thread looks at it, `s` seconds from the start.
  void Tick(double s = 0) {
    last_tick_s_ = s;
    barrier_->OnTick(start_ns_ + static_cast<int64_t>(s * kNsPerS));
  }
  void Say(const std::string& line) {
    ASSERT_TRUE(server_.SendLine(line));
    barrier_->OnReadable();
  }
  // Connected, and asked about throttling.
  void Connect(const char* query_block_answer = kUnlimited) {
    Tick();
    ASSERT_TRUE(server_.Accept());
    Say(R"({"QMP": {}})");
    ASSERT_NE(server_.ReceiveLine().find("qmp_capabilities"), std::string::npos);
    Say(R"({"return": {}})");
    Tick();
    ASSERT_NE(server_.ReceiveLine().find("query-block"), std::string::npos);
    Say(query_block_answer);
  }
  // Before it comes a question whether QEMU is there, and a look at throttling where one is due.
  bool BarrierIsAskedFor() {
    if (server_.IsQuiet()) return false;
    const std::string line = server_.ReceiveLine();
    if (line.find("query-status") != std::string::npos) {
      Say(kThere);
      return server_.ReceiveLine().find("transaction") != std::string::npos;
    }
    if (line.find("query-block") == std::string::npos) return false;
    Say(kUnlimited);
    Tick(last_tick_s_);
    return BarrierIsAskedFor();
  }
  int64_t SafeBefore() { return barrier_->SafeBeforeNs(MonotonicNs()); }

  // The disk that the image of `server_` lies on, that QMP's process has open.
  void SetDisk(uint64_t completed, uint64_t in_flight = 1) {
    struct stat info {};
    ASSERT_EQ(fstat(image_.get(), &info), 0);
    const std::string disk = folder_.File("sys/" + std::to_string(major(info.st_dev)) + ":" +
                                          std::to_string(minor(info.st_dev)));
    std::filesystem::create_directories(disk);
    std::ofstream(disk + "/stat") << completed << " 0 0 0 0 0 0 0 0 0 0\n";
    std::ofstream(disk + "/inflight") << in_flight << " 0\n";
  }

  const TemporaryFolder folder_;
  // Its process inherits it.
  const UniqueFd image_{open(folder_.File("image").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600)};
  double last_tick_s_ = 0;
  QmpTestServer server_;
  WakeEvent wake_;
  std::unique_ptr<QmpBarrier> barrier_;
  int completed_ = 0;
  const int64_t start_ns_ = MonotonicNs();
};

TEST_F(QmpBarrierTest, NothingIsSafeBeforeTheFirstBarrier) {
  EXPECT_EQ(SafeBefore(), 0);
  Connect();
  EXPECT_EQ(SafeBefore(), 0);
  EXPECT_EQ(barrier_->Status().mode, "qmp");
}

TEST_F(QmpBarrierTest, NoBarrierIsStartedThatNobodyAskedFor) {
  Connect();
  Tick();
  Tick(9);
  EXPECT_TRUE(server_.IsQuiet());
}

TEST_F(QmpBarrierTest, BarrierIsATransactionWithoutActions) {
  Connect();
  barrier_->Request(false);
  Tick();
  ASSERT_NE(server_.ReceiveLine().find("query-status"), std::string::npos);
  Say(kThere);
  EXPECT_EQ(server_.ReceiveLine(), R"({"execute": "transaction", "arguments": {"actions": []}})");
}

TEST_F(QmpBarrierTest, QemuThatIsBusyIsAskedAgainAndPaysNothingForIt) {
  Connect();
  barrier_->Request(true);
  Tick();
  ASSERT_NE(server_.ReceiveLine().find("query-status"), std::string::npos);
  // style-ok(sleep): QEMU takes its time, which is what this is about
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  Say(kThere);
  EXPECT_TRUE(server_.IsQuiet()) << "what was seen of the disks is too old";
  Tick(0.3);
  EXPECT_TRUE(BarrierIsAskedFor());
  Say(R"({"return": {}})");
  EXPECT_EQ(barrier_->Status().interval_ms, 1000u);
}

TEST_F(QmpBarrierTest, QemuThatAnswersWithAnErrorIsAskedFourTimesASecondAtMost) {
  Connect();
  barrier_->Request(true);
  Tick();
  ASSERT_NE(server_.ReceiveLine().find("query-status"), std::string::npos);
  Say(R"({"error": {"class": "GenericError", "desc": "no"}})");
  Tick();
  Tick(0.2);
  EXPECT_TRUE(server_.IsQuiet());
  Tick(0.3);
  EXPECT_TRUE(BarrierIsAskedFor());
}

TEST_F(QmpBarrierTest, OnlyItsCompletionMakesAnythingSafeAndOnlyWhatWasBeforeItsStart) {
  Connect();
  barrier_->Request(false);
  const int64_t before_ns = MonotonicNs();
  Tick();
  ASSERT_TRUE(BarrierIsAskedFor());
  const int64_t after_command_ns = MonotonicNs();
  EXPECT_EQ(SafeBefore(), 0) << "asked for is not done";
  Say(R"({"event": "JOB_STATUS_CHANGE", "data": {}})");
  EXPECT_EQ(SafeBefore(), 0);
  Say(R"({"return": {}})");
  EXPECT_GE(SafeBefore(), before_ns);
  EXPECT_LE(SafeBefore(), after_command_ns) << "a page protected while it ran is not covered";
  EXPECT_EQ(completed_, 1);
  EXPECT_EQ(barrier_->Status().count, 1u);
}

TEST_F(QmpBarrierTest, IsUnansweredWhenQemuHasNotAnsweredForSecondsAndUntilItDoes) {
  EXPECT_FALSE(barrier_->Unanswered());
  Connect();
  Tick(60);
  EXPECT_FALSE(barrier_->Unanswered()) << "nothing was asked";
  barrier_->Request(true);
  Tick(61);
  ASSERT_TRUE(BarrierIsAskedFor());
  Tick(1);
  EXPECT_FALSE(barrier_->Unanswered()) << "a second is not much";
  Tick(63);
  EXPECT_TRUE(barrier_->Unanswered());
  Say(R"({"return": {}})");
  EXPECT_FALSE(barrier_->Unanswered());
}

TEST_F(QmpBarrierTest, FailedBarrierMakesNothingSafe) {
  Connect();
  barrier_->Request(false);
  Tick();
  ASSERT_TRUE(BarrierIsAskedFor());
  Say(R"({"error": {"class": "GenericError", "desc": "no"}})");
  EXPECT_EQ(SafeBefore(), 0);
  EXPECT_EQ(completed_, 0);
  EXPECT_EQ(barrier_->Status().count, 0u);
}

TEST_F(QmpBarrierTest, BarrierLostWithItsConnectionMakesNothingSafe) {
  Connect();
  barrier_->Request(false);
  Tick();
  server_.Disconnect();
  barrier_->OnReadable();
  EXPECT_EQ(SafeBefore(), 0);
  EXPECT_EQ(completed_, 0);
  EXPECT_EQ(barrier_->fd(), -1);
}

TEST_F(QmpBarrierTest, OneAtATime) {
  Connect();
  barrier_->Request(true);
  Tick();
  ASSERT_TRUE(BarrierIsAskedFor());
  barrier_->Request(true);
  Tick(100);
  EXPECT_TRUE(server_.IsQuiet());
}

TEST_F(QmpBarrierTest, NextOneComesAfterTenSecondsOrOneWhenUrgent) {
  Connect();
  barrier_->Request(false);
  Tick();
  ASSERT_TRUE(BarrierIsAskedFor());
  Say(R"({"return": {}})");
  barrier_->Request(false);
  Tick(9);
  EXPECT_TRUE(server_.IsQuiet());
  barrier_->Request(true);
  Tick(9);
  EXPECT_TRUE(BarrierIsAskedFor()) << "urgent";
  Say(R"({"return": {}})");
  barrier_->Request(false);
  Tick(11);
  EXPECT_TRUE(BarrierIsAskedFor());
}

TEST_F(QmpBarrierTest, TickSaysWhenTheNextBarrierIsDue) {
  Connect();
  barrier_->Request(true);
  Tick();
  ASSERT_TRUE(BarrierIsAskedFor());
  Say(R"({"return": {}})");
  barrier_->Request(true);
  const int64_t wait_ns = barrier_->OnTick(start_ns_ + kNsPerS / 2);
  EXPECT_GT(wait_ns, 0);
  EXPECT_LE(wait_ns, kNsPerS);
}

TEST_F(QmpBarrierTest, RequestWakesThePeersThreadOnceForEachUrgency) {
  EXPECT_FALSE(IsReadable(wake_.fd()));
  barrier_->Request(false);
  EXPECT_TRUE(IsReadable(wake_.fd()));
  wake_.Clear();
  barrier_->Request(false);
  EXPECT_FALSE(IsReadable(wake_.fd())) << "asked for already";
  barrier_->Request(true);
  EXPECT_TRUE(IsReadable(wake_.fd()));
}

// ---- Disks that stall ---------------------------------------------------------------------------

TEST_F(QmpBarrierTest, BusyDiskIsSeenToWorkBeforeABarrierStarts) {
  Connect();
  SetDisk(/*completed=*/7);
  barrier_->Request(true);
  Tick();
  Tick(0.005);
  EXPECT_TRUE(server_.IsQuiet());
  SetDisk(/*completed=*/8);
  Tick(0.01);
  EXPECT_TRUE(BarrierIsAskedFor());
}

TEST_F(QmpBarrierTest, NothingIsAskedOfQemuWhileADiskStalls) {
  Connect();
  SetDisk(/*completed=*/7);
  barrier_->Request(true);
  for (double s = 0; s < 40; s += 0.25) Tick(s);
  EXPECT_TRUE(server_.IsQuiet()) << "a drain, and even a question, may wait for it";
  SetDisk(/*completed=*/8, /*in_flight=*/0);
  Tick(40);
  EXPECT_TRUE(BarrierIsAskedFor());
}

TEST_F(QmpBarrierTest, DiskThatStallsIsNamedOnce) {
  Connect();
  SetDisk(/*completed=*/7);
  barrier_->Request(true);
  testing::internal::CaptureStderr();
  for (double s = 0; s < 10; s += 0.25) Tick(s);
  const std::string log = testing::internal::GetCapturedStderr();
  const size_t first = log.find("completes nothing");
  ASSERT_NE(first, std::string::npos) << log;
  EXPECT_EQ(log.find("completes nothing", first + 1), std::string::npos) << log;
}

// ---- Throttled disks ----------------------------------------------------------------------------

TEST_F(QmpBarrierTest, ThrottledDiskReplacesBarriersByAGraceTime) {
  Connect(kThrottled);
  EXPECT_EQ(barrier_->Status().mode, "grace");
  EXPECT_EQ(barrier_->SafeBeforeNs(1000 * kNsPerS), 700 * kNsPerS);
  EXPECT_EQ(barrier_->IntervalNs(), 300 * kNsPerS);
  barrier_->Request(true);
  Tick();
  Tick(9);
  EXPECT_TRUE(server_.IsQuiet()) << "a drain would let throttled requests through";
}

TEST_F(QmpBarrierTest, EachKindOfLimitCounts) {
  for (const char* limit : {"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"}) {
    QmpTestServer server;
    QmpBarrier::Options options;
    options.qmp_path = server.path();
    options.pid = server.pid();
    options.peers_wake = &wake_;
    options.sys_block_folder = folder_.File("sys");
    QmpBarrier barrier(std::move(options));
    barrier.OnTick(start_ns_);
    ASSERT_TRUE(server.Accept());
    server.SendLine(R"({"return": {}})");
    barrier.OnReadable();
    barrier.OnTick(start_ns_);
    server.SendLine(std::string(R"({"return": [{"inserted": {")") + limit + R"(": 1}}]})");
    barrier.OnReadable();
    EXPECT_EQ(barrier.Status().mode, "grace") << limit;
  }
}

TEST_F(QmpBarrierTest, StrangeAnswersAboutDisksAreNoLimits) {
  for (const char* answer : {"{}", "[]", "[1]", "[{}]", R"([{"inserted": null}])",
                             R"([{"inserted": {"bps": "many"}}])", "null"}) {
    QmpTestServer server;
    QmpBarrier::Options options;
    options.qmp_path = server.path();
    options.pid = server.pid();
    options.peers_wake = &wake_;
    options.sys_block_folder = folder_.File("sys");
    QmpBarrier barrier(std::move(options));
    barrier.OnTick(start_ns_);
    ASSERT_TRUE(server.Accept());
    server.SendLine(R"({"return": {}})");
    barrier.OnReadable();
    barrier.OnTick(start_ns_);
    server.SendLine(std::string(R"({"return": )") + answer + "}");
    barrier.OnReadable();
    EXPECT_EQ(barrier.Status().mode, "qmp") << answer;
  }
}

TEST_F(QmpBarrierTest, ThrottlingIsLookedForAgainEveryTenSeconds) {
  Connect();
  Tick(9);
  EXPECT_TRUE(server_.IsQuiet());
  Tick(11);
  ASSERT_NE(server_.ReceiveLine().find("query-block"), std::string::npos);
  Say(kThrottled);
  EXPECT_EQ(barrier_->Status().mode, "grace");
  Tick(22);
  ASSERT_NE(server_.ReceiveLine().find("query-block"), std::string::npos);
  Say(kUnlimited);
  EXPECT_EQ(barrier_->Status().mode, "qmp");
}

TEST_F(QmpBarrierTest, ThrottledStaysThrottledWhileQemuDoesNotSay) {
  Connect(kThrottled);
  Tick(61);
  ASSERT_NE(server_.ReceiveLine().find("query-block"), std::string::npos);
  Say(R"({"error": {"class": "GenericError", "desc": "busy"}})");
  EXPECT_EQ(barrier_->Status().mode, "grace");
}

TEST_F(QmpBarrierTest, NoBarrierStartsWhileThrottlingIsUnknown) {
  Connect(R"({"error": {"class": "GenericError", "desc": "busy"}})");
  barrier_->Request(true);
  Tick(1);
  EXPECT_NE(server_.ReceiveLine().find("query-block"), std::string::npos) << "asks again first";
}

// ---- QMP that cannot be reached -----------------------------------------------------------------

TEST_F(QmpBarrierTest, ReconnectsASecondAfterTheConnectionWasLost) {
  Connect();
  server_.Disconnect();
  barrier_->OnReadable();
  Tick(0.5);
  EXPECT_EQ(barrier_->fd(), -1);
  Tick(1.5);
  EXPECT_NE(barrier_->fd(), -1);
  ASSERT_TRUE(server_.Accept());
  EXPECT_NE(server_.ReceiveLine().find("qmp_capabilities"), std::string::npos);
}

TEST_F(QmpBarrierTest, SocketOfAnotherProcessIsNeverUsed) {
  QmpBarrier::Options options;
  options.qmp_path = server_.path();
  options.pid = getpid();
  options.peers_wake = &wake_;
  QmpBarrier barrier(std::move(options));
  barrier.Request(true);
  barrier.OnTick(start_ns_);
  barrier.OnTick(start_ns_ + 2 * kNsPerS);
  EXPECT_EQ(barrier.fd(), -1);
  EXPECT_EQ(barrier.SafeBeforeNs(MonotonicNs()), 0);
}

}  // namespace
}  // namespace ebb
