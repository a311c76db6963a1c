// Waiting without sleep, for what is expected in some microseconds.
#ifndef TDSE_EXECUTOR_SPIN_H_
#define TDSE_EXECUTOR_SPIN_H_

#include <chrono>
#include <thread>

namespace tdse {

// Tells the processor that this thread only waits.
inline void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
  asm volatile("yield");
#endif
}

// Whether `is_ready()` became true within `limit`. Gives the core away where others want it.
template <typename IsReady>
bool SpinUntil(const IsReady& is_ready, std::chrono::microseconds limit) {
  if (is_ready()) return true;
  if (limit.count() == 0) return false;
  constexpr int kLooksBeforeYield = 16;
  const auto end = std::chrono::steady_clock::now() + limit;
  do {
    for (int i = 0; i < kLooksBeforeYield; ++i) {
      Pause();
      if (is_ready()) return true;
    }
    std::this_thread::yield();
  } while (std::chrono::steady_clock::now() < end);
  return is_ready();
}

}  // namespace tdse

#endif  // TDSE_EXECUTOR_SPIN_H_
