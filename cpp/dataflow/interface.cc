// What python/tdse/dataflow/native.py calls.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <new>

#include "cost.h"
#include "layer.h"
#include "search.h"
#include "space.h"

using namespace tdse::dataflow;  // NOLINT: a file of few lines

#define TDSE_DATAFLOW_CALL extern "C" __attribute__((visibility("default")))

namespace {

// `sizes` has `counts[loop]` entries for each loop, one loop after the other.
void ReadSizes(const int32_t* counts, const int32_t* sizes, Sizes& read) {
  for (int loop = 0; loop < kLoops; ++loop) {
    read[loop].assign(sizes, sizes + counts[loop]);
    sizes += counts[loop];
  }
}

}  // namespace

// Evaluates `count` mappings.
//   tilings [count, 4, kLoops], factors in DRAM, scratchpad, register files and space
//   orders  [count, 2, kLoops], of the loops in DRAM and in the scratchpad, outermost first; null
//           for the orders that are best for `objective`
//   figures [count, kFigures]
//   reuses  [count, 2], operands that are used again in DRAM and in the scratchpad; or null
TDSE_DATAFLOW_CALL void TdseDataflowEvaluate(const Layer* layer, const Architecture* arch,
                                             int64_t count, const int32_t* tilings,
                                             const int8_t* orders, int32_t objective,
                                             double* figures, int8_t* reuses) {
  for (int64_t i = 0; i < count; ++i, figures += kFigures) {
    const int32_t* dram = tilings + i * 4 * kLoops;
    const int32_t *spm = dram + kLoops, *rf = spm + kLoops, *spatial = rf + kLoops;
    const ArrayPart array = MakeArray(*layer, *arch, rf, spatial);
    int32_t in_tile[kLoops];
    for (int loop = 0; loop < kLoops; ++loop) in_tile[loop] = spm[loop] * array.both[loop];
    const TilePart tile = MakeTile(*layer, *arch, dram, in_tile);
    Reuse best_spm, best_dram;
    if (orders) {
      best_dram = ReuseOf(dram, orders + i * 2 * kLoops);
      best_spm = ReuseOf(spm, orders + i * 2 * kLoops + kLoops);
    } else {
      double best = std::numeric_limits<double>::infinity();
      ForOrders(*arch, array, tile, [&](const Cost& cost, Reuse of_spm, Reuse of_dram) {
        const double value = ValueOf(static_cast<Objective>(objective), cost);
        if (value >= best) return;
        best = value;
        best_spm = of_spm;
        best_dram = of_dram;
      });
    }
    Combine(*arch, array, tile, best_spm, best_dram, figures);
    if (reuses) {
      reuses[2 * i] = static_cast<int8_t>(best_dram.operand);
      reuses[2 * i + 1] = static_cast<int8_t>(best_spm.operand);
    }
  }
}

// Both return false if there is not enough memory.
// `found` has kObjectives entries, or is null to count only.
TDSE_DATAFLOW_CALL bool TdseDataflowExhaust(const Layer* layer, const Architecture* arch,
                                            const int32_t* counts, const int32_t* sizes,
                                            const Pruning* pruning, Found* found, Count* count) {
  try {
    Sizes read;
    ReadSizes(counts, sizes, read);
    *count = Exhaust(*layer, *arch, read, *pruning, found);
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

TDSE_DATAFLOW_CALL bool TdseDataflowBound(const Layer* layer, const Architecture* arch,
                                          const int32_t* counts, const int32_t* sizes,
                                          int32_t objective, double seconds, Bounded* result) {
  try {
    Sizes read;
    ReadSizes(counts, sizes, read);
    *result = Bound(*layer, *arch, read, static_cast<Objective>(objective), seconds);
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}
