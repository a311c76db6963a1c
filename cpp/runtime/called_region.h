// Regions that functions of the program run, of kinds that this library does not know.
#ifndef TDSE_RUNTIME_CALLED_REGION_H_
#define TDSE_RUNTIME_CALLED_REGION_H_

#include <memory>

#include "python.h"
#include "region.h"

namespace tdse {

// Throws std::runtime_error with what the functions told by tdse_fail.
std::unique_ptr<Region> MakeCalledRegion(const tdse_region_functions& functions, const Plan& plan,
                                         const PlanRegion& region);

}  // namespace tdse

#endif  // TDSE_RUNTIME_CALLED_REGION_H_
