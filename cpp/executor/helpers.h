// Threads that help another one with work that can be divided.
#ifndef TDSE_EXECUTOR_HELPERS_H_
#define TDSE_EXECUTOR_HELPERS_H_

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace tdse {

// The helpers of one thread. Whoever is free takes the next part of the work, so that a helper
// which is late, because it has to be woken or others have its CPU, leaves more to the rest and
// holds nobody up. Between two pieces of work they look for the next one for a short while, and
// then sleep: a helper that spins takes its CPU from LiteRT's threads.
class Helpers {
 public:
  // Those of the calling thread: started when they are first needed, on the CPUs that it may use
  // then, and gone when it ends. A forked process has none, and starts its own.
  static Helpers& OfThisThread();

  Helpers() = default;
  ~Helpers();
  Helpers(const Helpers&) = delete;
  Helpers& operator=(const Helpers&) = delete;

  using Part = std::function<void(uint32_t part)>;

  // Calls `run(part)` once for each part below `parts`, at most 65535, on this thread and at most
  // `threads` - 1 helpers, and returns when all of them are over. Throws what one of the parts has
  // thrown, or std::system_error if a helper cannot be started. Only the thread whose helpers they
  // are calls.
  void Divide(uint32_t threads, uint32_t parts, const Part& run);

  // Nothing is to be divided soon: helpers sleep at once.
  void Rest();

 private:
  void Start(size_t count);
  void Work(size_t helper);
  bool HasWork(size_t helper) const;
  // Takes the first part that is left, or the last, and runs it; false if there was none.
  bool RunNext(bool first);
  void RunPart(uint32_t part);

  // A number that tells pieces of work apart, the first part that nobody has taken yet, and the one
  // after the last: 32, 16 and 16 bits. The caller takes parts from the front and helpers from the
  // back, so that a thread often reads what it has written a moment ago.
  std::atomic<uint64_t> ticket_{0};
  // Written before the ticket is, while no part of the work before is left or runs.
  const Part* run_ = nullptr;
  std::atomic<uint32_t> parts_running_{0};  // or not taken yet

  // Of all helpers, the first so many take part.
  std::atomic<size_t> wanted_{0};
  std::atomic<bool> rests_{false};

  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<size_t> asleep_{0};  // or about to be
  bool stops_ = false;
  std::exception_ptr error_;  // the first

  size_t usable_cpus_ = 0;  // 0: not known yet
  std::vector<std::thread> threads_;
};

}  // namespace tdse

#endif  // TDSE_EXECUTOR_HELPERS_H_
