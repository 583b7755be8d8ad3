// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "tests/explorer/fiber.h"
#include "tests/explorer/seen.h"

namespace ebb::explorer {

// Somebody whose steps the explorer orders. A step is indivisible: it touches what is shared once.
class Actor {
 public:
  virtual ~Actor() = default;

  virtual bool CanStep() const = 0;
  virtual void Step() = 0;
  virtual std::string Describe() const = 0;
  // What decides its later steps, besides what is shared.
  virtual uint64_t Fingerprint() const = 0;
};

// A thread of ebbd: its code runs on a fiber and yields before everything shared that it touches.
// What it has seen since it was last at rest stands for where it is and what its variables hold.
class EbbdThread : public Actor {
 public:
  // `body` calls Rest() wherever the thread would wait for something to do. From there it goes on
  // once `has_work`. `at_point` takes away what it has seen and does not matter any more, at each
  // test point and at "rest".
  struct Parts {
    std::string name;
    const Likeness* likeness;
    std::function<void()> body;
    std::function<bool()> has_work;
    std::function<void(std::string_view point, Sight* seen)> at_point;
  };
  explicit EbbdThread(Parts parts);

  bool CanStep() const override;
  void Step() override;
  std::string Describe() const override;
  uint64_t Fingerprint() const override;

  // The one that runs, unless it is in the kernel; null outside of all fibers.
  static EbbdThread* Current() { return current_; }

  // For the body: before it touches what is shared.
  void Touch(const char* what);
  // For the body: what it got to see.
  void See(const Seen& seen) { seen_.push_back(seen); }
  // It will see whether this step changes the word of `page`.
  void SeeChange(PageIndex page);
  void AtPoint(std::string_view point);
  // The next touch is part of this step.
  void GoOn() { same_step_ = true; }
  void Rest();

  // While it exists the thread is in the kernel, or the explorer looks at what is shared.
  class InKernel {
   public:
    InKernel() : self_(std::exchange(current_, nullptr)) {}
    ~InKernel() { current_ = self_; }
    InKernel(const InKernel&) = delete;
    InKernel& operator=(const InKernel&) = delete;

   private:
    EbbdThread* self_;
  };

 private:
  void EndStep();

  static EbbdThread* current_;

  const Parts parts_;
  Fiber fiber_;
  const char* next_ = "its first step";
  bool resting_ = true;
  bool same_step_ = true;  // the first touch after a rest needs no step before it
  Sight seen_;
  std::optional<Seen> before_step_;
};

}  // namespace ebb::explorer
