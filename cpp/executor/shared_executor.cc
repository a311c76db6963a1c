#include "shared_executor.h"

#include <stdexcept>
#include <utility>

namespace tdse {

SharedExecutor::SharedExecutor(const Plan& plan, RegionFactories factories)
    : plan_(plan), factories_(std::move(factories)) {}

SharedExecutor::~SharedExecutor() {
  // Regions would wait for threads that a forked process does not have.
  if (process_.IsOfAnotherProcess()) executor_.release();
}

void SharedExecutor::RequireOwnProcess() const {
  if (!process_.IsOfAnotherProcess()) return;
  throw std::runtime_error(
      "the model was loaded before this process was forked, and cannot run in it; load it again in "
      "the new process");
}

}  // namespace tdse
