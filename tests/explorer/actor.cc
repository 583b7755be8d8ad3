// SPDX-License-Identifier: MIT
#include "tests/explorer/actor.h"

#include <xxhash.h>

#include <cstring>
#include <functional>

namespace ebb::explorer {
namespace {

Seen Name(std::string_view name) { return Seen::Value(XXH3_64bits(name.data(), name.size())); }

}  // namespace

EbbdThread* EbbdThread::current_ = nullptr;

EbbdThread::EbbdThread(Parts parts) : parts_(std::move(parts)), fiber_(parts_.body) {}

bool EbbdThread::CanStep() const {
  if (fiber_.ended()) return false;
  return !resting_ || parts_.has_work();
}

void EbbdThread::Step() {
  resting_ = false;
  current_ = this;
  fiber_.Resume();
  current_ = nullptr;
}

std::string EbbdThread::Describe() const { return parts_.name + ": " + next_; }

uint64_t EbbdThread::Fingerprint() const { return fiber_.ended() ? 1 : parts_.likeness->Of(seen_); }

void EbbdThread::Touch(const char* what) {
  if (std::exchange(same_step_, false)) return;
  EndStep();
  next_ = what;
  See(Name(what));
  Fiber::Yield();
}

void EbbdThread::EndStep() {
  if (!before_step_) return;
  const InKernel not_a_step;
  const Seen now = parts_.likeness->WordNow({before_step_->of});
  See(Seen::Value(now.value != before_step_->value));
  before_step_.reset();
}

void EbbdThread::SeeChange(PageIndex page) {
  const InKernel not_a_step;
  before_step_ = parts_.likeness->WordNow(page);
}

void EbbdThread::AtPoint(std::string_view point) {
  const InKernel not_a_step;
  parts_.at_point(point, &seen_);
  See(Name(point));
}

void EbbdThread::Rest() {
  EndStep();
  next_ = "what it finds to do";
  resting_ = true;
  AtPoint("rest");
  Fiber::Yield();
  same_step_ = true;
}

}  // namespace ebb::explorer
