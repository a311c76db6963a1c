// What an executor runs: regions, each compiled for one target and bound to buffers.
#ifndef TDSE_EXECUTOR_REGION_H_
#define TDSE_EXECUTOR_REGION_H_

#include <dlpack/dlpack.h>

#include <functional>
#include <memory>
#include <vector>

#include "plan.h"

namespace tdse {

// A region whose inputs and outputs were bound to fixed addresses when it was made.
class Region {
 public:
  virtual ~Region() = default;
  // Reads the inputs and overwrites the outputs. Allocates nothing. Throws std::exception.
  virtual void Run() = 0;
};

// The tensors of a plan, by TensorId: contiguous, on the host, at multiples of kBufferAlignment.
// They keep their addresses for as long as the regions live.
using TensorViews = std::vector<DLTensor>;

// Compiles a region and binds it to its tensors. Throws std::exception.
using RegionFactory = std::function<std::unique_ptr<Region>(
    const Plan& plan, const PlanRegion& region, TensorViews* tensors)>;

}  // namespace tdse

#endif  // TDSE_EXECUTOR_REGION_H_
