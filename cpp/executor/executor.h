// Runs a plan: one region after the other, on the caller's thread.
#ifndef TDSE_EXECUTOR_EXECUTOR_H_
#define TDSE_EXECUTOR_EXECUTOR_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "buffers.h"
#include "plan.h"
#include "region.h"

namespace tdse {

// Region kind, as in the plan, to what makes a region of that kind.
using RegionFactories = std::map<std::string, RegionFactory>;

// The buffers and compiled regions of a plan. Not for use by several threads at a time:
// see SharedExecutor.
//
// Inputs and outputs are passed as addresses of contiguous host memory, in the plan's order, of the
// sizes that the plan says; no alignment is needed. Any function throws std::runtime_error, with
// the region's name where a region fails.
class Executor {
 public:
  // `plan` and the bytes its blobs point to must outlive the executor.
  Executor(const Plan& plan, const RegionFactories& factories);
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Copies the inputs in, runs all regions, copies the outputs out.
  void Run(const std::vector<const void*>& inputs, const std::vector<void*>& outputs);

  // Microseconds of each of `count` runs of all regions, without any copy.
  std::vector<double> TimeRuns(size_t count, const std::vector<const void*>& inputs);

  // Microseconds of each region in each of `count` runs, run by run.
  std::vector<double> Profile(size_t count, const std::vector<const void*>& inputs);

  // The value of a tensor after the last run. Throws if the tensor's memory has been reused.
  const DLTensor& ReadTensor(TensorId id) const;

 private:
  void CopyIn(const std::vector<const void*>& inputs);
  void RunRegion(size_t index);

  const Plan& plan_;
  BufferPlan buffer_plan_;
  AlignedBuffer arena_;
  std::vector<AlignedBuffer> own_buffers_;
  std::vector<std::vector<int64_t>> strides_;
  TensorViews tensors_;
  std::vector<std::unique_ptr<Region>> regions_;
};

// Inputs, outputs and regions of a plan as JSON, and the size of its arena.
std::string DescribePlan(const Plan& plan);

}  // namespace tdse

#endif  // TDSE_EXECUTOR_EXECUTOR_H_
