#include "shared_executor.h"

#include <stdexcept>
#include <utility>

namespace tdse {

SharedExecutor::SharedExecutor(std::shared_ptr<const Plan> plan, RegionFactories factories)
    : plan_(std::move(plan)), factories_(std::move(factories)) {}

SharedExecutor::~SharedExecutor() {
  // Regions and lanes would wait for threads that a forked process does not have.
  if (IsOfAnotherProcess()) executor_.release();
}

Executor& SharedExecutor::Get() {
  // Before the mutex, which a thread that is not there any more may have locked.
  if (IsOfAnotherProcess()) {
    throw std::runtime_error(
        "the model was loaded before this process was forked, and cannot run in it; load it again "
        "in the new process");
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  if (executor_ == nullptr) executor_ = std::make_unique<Executor>(plan_, factories_);
  return *executor_;
}

}  // namespace tdse
