// Regions of devices that are not there: they keep their lane for as long as a model says that the
// device would take.
#ifndef TDSE_EXECUTOR_EMULATED_REGION_H_
#define TDSE_EXECUTOR_EMULATED_REGION_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "loaded_plan.h"
#include "region.h"

namespace tdse {

// How an emulated region comes by its outputs; what follows its blob's header is for that.
enum class EmulatedResult : uint32_t {
  kCarried = 0,            // the one input is the one output: a transfer; nothing
  kRecorded = 1,           // a byte for each output, 1 if it was recorded, else 0; then the values
                           // of those that were, one after the other
  kLiteRt = 2,             // a slice, run here as a region of kind litert
  kLiteRtInterpreter = 3,  // likewise litert_interpreter
};

// The blob's header: u64 modelled nanoseconds, u32 EmulatedResult, zeros. So long that what follows
// is as aligned as blobs are.
constexpr size_t kEmulatedHeaderBytes = kBlobAlignment;

// A region that has its outputs at once, or as soon as this machine has computed them, and then
// sleeps until the modelled time is over: no CPU is used meanwhile. It takes longer than modelled
// where computing does, and by what the kernel takes to wake a thread. The next one on the lane
// that was ready meanwhile does not: the device that is modelled would have begun it in time, and
// its modelled time counts from there. Outputs that were not recorded stay what they are: where all
// is replayed, nobody reads what no caller gets, and copying it would take longer than many a
// region of a fast device.
//
// `host` makes the regions that run here. Throws std::runtime_error if the blob does not fit.
std::unique_ptr<Region> MakeEmulatedRegion(const Plan& plan, const PlanRegion& region,
                                           const RegionFactories& host);

}  // namespace tdse

#endif  // TDSE_EXECUTOR_EMULATED_REGION_H_
