// SPDX-License-Identifier: MIT
#include "tests/explorer/fiber.h"

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/base/config.h"
#include "tests/explorer/run_arena.h"

#if defined(ABSL_HAVE_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#elif defined(ABSL_HAVE_THREAD_SANITIZER)
#include <sanitizer/tsan_interface.h>
#endif

namespace ebb::explorer {
namespace {

namespace context = boost::context::detail;

constexpr size_t kStackBytes = size_t{128} * 1024;

// Stacks are used again and again: a run takes as many as it has fibers.
std::vector<std::byte*>& IdleStacks() {
  static std::vector<std::byte*> stacks;
  return stacks;
}

std::byte* TakeStack() {
  std::vector<std::byte*>& idle = IdleStacks();
  if (idle.empty()) {
    const OutsideArena outlives_the_run;
    // style-ok(new): kept for ever, for the next fiber
    return new std::byte[kStackBytes];
  }
  std::byte* const stack = idle.back();
  idle.pop_back();
  return stack;
}

Fiber* current = nullptr;

}  // namespace

// Tells the sanitizers which stack is in use; nothing in other builds. Inlined: ThreadSanitizer
// takes note of each function's begin and end, which must be on the same fiber.
struct Fiber::Context {
  std::function<void()> body;
  std::byte* stack = nullptr;
  context::fcontext_t self = nullptr;
  context::fcontext_t resumer = nullptr;
  bool ended = false;
#if defined(ABSL_HAVE_ADDRESS_SANITIZER)
  const void* resumer_stack = nullptr;
  size_t resumer_bytes = 0;
#elif defined(ABSL_HAVE_THREAD_SANITIZER)
  void* self_thread = nullptr;
  void* resumer_thread = nullptr;
#endif

  void BeforeResume();
  void AfterResume();
  void BeforeYield();
  void AfterYield();
  static void Enter(context::transfer_t from);
};

#if defined(ABSL_HAVE_ADDRESS_SANITIZER)
namespace {
void* fake_stack_of_resumer = nullptr;
}
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void Fiber::Context::BeforeResume() {
  __sanitizer_start_switch_fiber(&fake_stack_of_resumer, stack, kStackBytes);
}
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void Fiber::Context::AfterResume() {
  __sanitizer_finish_switch_fiber(fake_stack_of_resumer, nullptr, nullptr);
}
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void Fiber::Context::BeforeYield() {
  __sanitizer_start_switch_fiber(nullptr, resumer_stack, resumer_bytes);
}
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void Fiber::Context::AfterYield() {
  __sanitizer_finish_switch_fiber(nullptr, &resumer_stack, &resumer_bytes);
}
#elif defined(ABSL_HAVE_THREAD_SANITIZER)
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void Fiber::Context::BeforeResume() {
  if (self_thread == nullptr) self_thread = __tsan_create_fiber(0);
  resumer_thread = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(self_thread, 0);
}
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void Fiber::Context::AfterResume() {}
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void Fiber::Context::BeforeYield() {
  __tsan_switch_to_fiber(resumer_thread, 0);
}
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void Fiber::Context::AfterYield() {}
#else
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void Fiber::Context::BeforeResume() {}
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void Fiber::Context::AfterResume() {}
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void Fiber::Context::BeforeYield() {}
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void Fiber::Context::AfterYield() {}
#endif

void Fiber::Context::Enter(context::transfer_t from) {
  auto* self = static_cast<Context*>(from.data);
  self->resumer = from.fctx;
  self->AfterYield();
  self->body();
  self->ended = true;
  self->BeforeYield();
  context::jump_fcontext(self->resumer, nullptr);
}

Fiber::Fiber(std::function<void()> body) : context_(std::make_unique<Context>()) {
  context_->stack = TakeStack();
#if defined(ABSL_HAVE_ADDRESS_SANITIZER)
  ASAN_UNPOISON_MEMORY_REGION(context_->stack, kStackBytes);
#endif
  context_->body = std::move(body);
  context_->self =
      context::make_fcontext(context_->stack + kStackBytes, kStackBytes, Context::Enter);
}

Fiber::~Fiber() {
#if defined(ABSL_HAVE_THREAD_SANITIZER)
  if (context_->self_thread != nullptr) __tsan_destroy_fiber(context_->self_thread);
#endif
  const OutsideArena outlives_the_run;
  IdleStacks().push_back(context_->stack);
}

bool Fiber::ended() const { return context_->ended; }
Fiber* Fiber::Current() { return current; }

void Fiber::Resume() {
  Fiber* const resumer = std::exchange(current, this);
  context_->BeforeResume();
  context_->self = context::jump_fcontext(context_->self, context_.get()).fctx;
  context_->AfterResume();
  current = resumer;
}

void Fiber::Yield() {
  Context* self = current->context_.get();
  self->BeforeYield();
  self->resumer = context::jump_fcontext(self->resumer, nullptr).fctx;
  self->AfterYield();
}

}  // namespace ebb::explorer
