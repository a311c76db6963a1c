// Runs of plans whose regions are fake ones, and what they must give.
#ifndef TDSE_TESTS_RUNS_H_
#define TDSE_TESTS_RUNS_H_

#include <cstdint>
#include <vector>

#include "executor.h"

namespace tdse {

using Bytes = std::vector<uint8_t>;
// Of tensors, in the order of a plan's inputs, of its outputs, or of all its tensors.
using Values = std::vector<Bytes>;

Values RandomInputs(const Plan& plan, uint32_t seed);

// One run through `executor`.
Values RunExecutor(Executor* executor, const Plan& plan, const Values& inputs);

// What fake regions compute where each tensor has memory of its own: every tensor's value, and
// those of the outputs.
Values ExpectedValues(const Plan& plan, const Values& inputs);
Values ExpectedOutputs(const Plan& plan, const Values& inputs);

}  // namespace tdse

#endif  // TDSE_TESTS_RUNS_H_
