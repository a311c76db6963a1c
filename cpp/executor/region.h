// What an executor runs: regions, each compiled for one target and bound to the buffers of frames.
#ifndef TDSE_EXECUTOR_REGION_H_
#define TDSE_EXECUTOR_REGION_H_

#include <dlpack/dlpack.h>

#include <functional>
#include <memory>
#include <vector>

#include "plan.h"
#include "waiting.h"

namespace tdse {

// The tensors of a plan, by TensorId: contiguous, on the host, at multiples of kBufferAlignment.
// Those that no region uses have no data.
using TensorViews = std::vector<DLTensor>;

// A region bound to the tensors of one frame, at addresses that stay what they are.
class BoundRegion {
 public:
  virtual ~BoundRegion() = default;
  // Reads the inputs and overwrites the outputs, which are complete when it returns. Allocates
  // nothing. Throws std::exception.
  virtual void Run() = 0;
  // Likewise, of a region that could have started at `ready`: all that it reads was there. Only who
  // keeps a modelled time needs to know.
  virtual void RunSince(Clock::time_point /*ready*/) { Run(); }
};

// A compiled region. Each item of a stream that is in flight has a frame, buffers of its own, and a
// region is compiled once and bound to every frame. One thread at a time uses a region and what it
// has bound, though not always the same thread; the region outlives what it has bound.
class Region {
 public:
  virtual ~Region() = default;
  // `tensors` outlive what is returned. Throws std::exception.
  virtual std::unique_ptr<BoundRegion> Bind(const TensorViews& tensors) = 0;
};

// Compiles a region. `plan` outlives what is returned. Throws std::exception.
using RegionFactory =
    std::function<std::unique_ptr<Region>(const Plan& plan, const PlanRegion& region)>;

}  // namespace tdse

#endif  // TDSE_EXECUTOR_REGION_H_
