// Regions whose kernels run on a device with memory of its own, such as a GPU.
#ifndef TDSE_TVM_DEVICE_REGION_H_
#define TDSE_TVM_DEVICE_REGION_H_

#include <memory>

#include "kernels.h"
#include "region.h"

namespace tdse {

// Copies the inputs to the region's device, calls the region's steps there, and copies the outputs
// back.
//
// Each tensor that a step touches has memory on the device for as long as the region lives;
// constants are copied once. Throws std::exception if the device has not enough of it, or is not
// there.
std::unique_ptr<Region> MakeDeviceRegion(const Plan& plan, const PlanRegion& region,
                                         const KernelLookup& find_kernel);

}  // namespace tdse

#endif  // TDSE_TVM_DEVICE_REGION_H_
