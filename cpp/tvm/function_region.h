// Regions of kinds that the executor does not know itself: a function of tvm_ffi runs them.
#ifndef TDSE_TVM_FUNCTION_REGION_H_
#define TDSE_TVM_FUNCTION_REGION_H_

#include <memory>

#include "region.h"

namespace tdse {

// A region of kind K is made by the global function `tdse.region.K`. Where there is none yet,
// `tdse.load_region_kind(K)` is called before, which loads the package that brings it. Once:
//
//   make(bytes blob, int threads, Array<int> sizes) -> run
//
// and at each run, with the addresses of the inputs and then of the outputs, at multiples of
// kBufferAlignment and of so many bytes as `sizes` says in this order:
//
//   run(int addresses...)
//
// A frame has the same addresses at each run, and another frame others. One thread at a time calls,
// though not always the same. Both functions throw what goes wrong.
std::unique_ptr<Region> MakeFunctionRegion(const Plan& plan, const PlanRegion& region);

}  // namespace tdse

#endif  // TDSE_TVM_FUNCTION_REGION_H_
