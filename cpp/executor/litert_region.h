// Regions that LiteRT runs: a .tflite slice compiled by its C API, XNNPACK included.
#ifndef TDSE_EXECUTOR_LITERT_REGION_H_
#define TDSE_EXECUTOR_LITERT_REGION_H_

#include <memory>

#include "region.h"

namespace tdse {

// Compiles the region's slice for the region's number of threads; it works in place on what it is
// bound to. Inputs and outputs are matched with the slice's by position.
//
// Throws std::runtime_error "litert: ..." if LiteRT refuses the model, or if its tensors are not
// those of the plan.
std::unique_ptr<Region> MakeLiteRtRegion(const Plan& plan, const PlanRegion& region);

}  // namespace tdse

#endif  // TDSE_EXECUTOR_LITERT_REGION_H_
