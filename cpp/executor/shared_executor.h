// An executor that several threads may call, and that forked processes may not.
#ifndef TDSE_EXECUTOR_SHARED_EXECUTOR_H_
#define TDSE_EXECUTOR_SHARED_EXECUTOR_H_

#include <memory>
#include <mutex>

#include "executor.h"
#include "process_mark.h"

namespace tdse {

// The executor of a plan, made at the first call.
class SharedExecutor {
 public:
  SharedExecutor(std::shared_ptr<const Plan> plan, RegionFactories factories);
  ~SharedExecutor();
  SharedExecutor(const SharedExecutor&) = delete;
  SharedExecutor& operator=(const SharedExecutor&) = delete;

  // Throws std::runtime_error if a region cannot be made, or if this process was forked after the
  // object was made.
  Executor& Get();

  // Whether Get throws because this process was forked.
  bool IsOfAnotherProcess() const { return process_.IsOfAnotherProcess(); }

 private:
  const std::shared_ptr<const Plan> plan_;
  const RegionFactories factories_;
  const ProcessMark process_;
  std::mutex mutex_;
  std::unique_ptr<Executor> executor_;
};

}  // namespace tdse

#endif  // TDSE_EXECUTOR_SHARED_EXECUTOR_H_
