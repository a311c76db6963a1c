// Whether the parts of a plan fit together.
#ifndef TDSE_EXECUTOR_CHECK_PLAN_H_
#define TDSE_EXECUTOR_CHECK_PLAN_H_

#include "plan.h"

namespace tdse {

// Throws std::runtime_error unless every index is in range, constants have the size of their
// tensors, and each tensor is written by one region, after which it may be read.
void CheckPlan(const Plan& plan);

}  // namespace tdse

#endif  // TDSE_EXECUTOR_CHECK_PLAN_H_
