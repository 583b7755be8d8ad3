// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "hostd/base/histogram.h"
#include "hostd/os/disk_activity.h"
#include "hostd/os/wake_event.h"
#include "hostd/peers/qemu/barrier_schedule.h"
#include "hostd/peers/qemu/qmp_connection.h"
#include "hostd/swap/io_barrier.h"

namespace ebb {

// I/O barriers by QMP: `transaction` without actions, which starts with bdrv_drain_all. That is an
// implementation detail of QEMU (7.2 to 11.1), so a test guards it. One at a time, on a connection
// of our own, and only when each disk of the VM was just seen to work: a drain holds the guest
// until the slowest has answered. A VM with I/O throttling gets none, because a drain lets
// throttled requests through: a grace time takes the barrier's place.
//
// The IoBarrier half is thread-safe; the rest belongs to the peers thread.
class QmpBarrier : public IoBarrier {
 public:
  struct Options {
    std::string vm_name;
    std::string qmp_path;
    int pid = 0;
    WakeEvent* peers_wake = nullptr;  // wakes the peers thread
    std::string sys_block_folder = "/sys/dev/block";
  };
  explicit QmpBarrier(Options options)
      : options_(std::move(options)), disk_activity_(options_.pid, options_.sys_block_folder) {}

  int64_t SafeBeforeNs(int64_t now_ns) override;
  void Request(bool urgent) override;
  bool Unanswered() const override { return unanswered_; }
  int64_t IntervalNs() override;
  IoBarrierStatus Status() override;

  // Called when a barrier has completed.
  void SetCompletedCallback(std::function<void()> callback) { completed_ = std::move(callback); }
  // The descriptor to poll, -1 for none.
  int fd() const { return connection_.fd(); }
  void OnReadable();
  // Starts what is due. Returns when it wants to be called again, in ns from now.
  int64_t OnTick(int64_t now_ns);

 private:
  enum class Wanted { kNone, kNormal, kUrgent };

  void Reconnect(int64_t now_ns);
  void AskThrottling();
  // How long until a barrier is due, in ns; 0: it is.
  int64_t NsToBarrier(int64_t now_ns) const;
  // Looks at them until all have been seen to work, over as many calls as that takes.
  bool DisksWork(int64_t now_ns);
  // Asks whether QEMU is there, and sends the drain if that is answered at once.
  void StartBarrier(int64_t now_ns);
  void Drain();
  void FinishBarrier(bool ok, int64_t started_ns);
  void Send(const std::string& command, QmpConnection::Answer answer);
  void NoteSilence(int64_t now_ns);
  void SayTrouble(const std::string& what);

  const Options options_;
  GraceTime grace_;

  std::atomic<Wanted> wanted_{Wanted::kNone};
  std::atomic<int64_t> safe_before_ns_{0};
  std::atomic<bool> use_grace_{false};
  std::atomic<int64_t> urgent_interval_ns_{0};
  std::atomic<bool> unanswered_{false};
  Histogram durations_;

  // Peers thread only.
  QmpConnection connection_;
  BarrierSchedule schedule_;
  DiskActivity disk_activity_;
  std::function<void()> completed_;
  int64_t next_connect_ns_ = 0;
  int64_t next_throttle_check_ns_ = 0;
  int64_t next_ping_ns_ = 0;
  int64_t disks_looked_at_ns_ = 0;  // when the look under way began; 0: there is none
  int64_t asked_ns_ = 0;            // when the command under way was sent
  bool said_trouble_ = false;
  int64_t said_trouble_ns_ = 0;
  bool said_stalled_ = false;
};

}  // namespace ebb
