// How threads wait for each other: without sleep for what is expected in some microseconds, else
// asleep.
#ifndef TDSE_EXECUTOR_WAITING_H_
#define TDSE_EXECUTOR_WAITING_H_

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace tdse {

using Clock = std::chrono::steady_clock;

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
  const Clock::time_point end = Clock::now() + limit;
  do {
    for (int i = 0; i < kLooksBeforeYield; ++i) {
      Pause();
      if (is_ready()) return true;
    }
    std::this_thread::yield();
  } while (Clock::now() < end);
  return is_ready();
}

// Sleeps until `is_ready()` is true. Returns false if that is not before `limit`, of which the
// latest there is means none.
template <typename IsReady>
bool WaitUntil(std::condition_variable* changed, std::unique_lock<std::mutex>* lock,
               Clock::time_point limit, const IsReady& is_ready) {
  if (limit != Clock::time_point::max()) return changed->wait_until(*lock, limit, is_ready);
  changed->wait(*lock, is_ready);
  return true;
}

}  // namespace tdse

#endif  // TDSE_EXECUTOR_WAITING_H_
