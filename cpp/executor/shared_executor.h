// An executor that several threads may call, and that forked processes may not.
#ifndef TDSE_EXECUTOR_SHARED_EXECUTOR_H_
#define TDSE_EXECUTOR_SHARED_EXECUTOR_H_

#include <memory>
#include <mutex>

#include "executor.h"
#include "process_mark.h"

namespace tdse {

// The executor of a plan, made at the first call; calls of several threads are served one after
// the other.
class SharedExecutor {
 public:
  // `plan` must outlive it.
  SharedExecutor(const Plan& plan, RegionFactories factories);
  ~SharedExecutor();
  SharedExecutor(const SharedExecutor&) = delete;
  SharedExecutor& operator=(const SharedExecutor&) = delete;

  // Calls work(Executor&). Throws std::runtime_error if a region cannot be made, or if this process
  // was forked after the object was made.
  template <typename Work>
  void Use(const Work& work) {
    // Before the mutex, which a thread that is not there any more may have locked.
    RequireOwnProcess();
    const std::lock_guard<std::mutex> lock(mutex_);
    if (executor_ == nullptr) executor_ = std::make_unique<Executor>(plan_, factories_);
    work(*executor_);
  }

 private:
  void RequireOwnProcess() const;

  const Plan& plan_;
  const RegionFactories factories_;
  const ProcessMark process_;
  std::mutex mutex_;
  std::unique_ptr<Executor> executor_;
};

}  // namespace tdse

#endif  // TDSE_EXECUTOR_SHARED_EXECUTOR_H_
