// The mappings of a layer that fit an accelerator, as two lists: what register files and PEs do,
// and what lies in the scratchpad. A mapping is one of each, where every loop of the first divides
// that of the second.
#ifndef TDSE_DATAFLOW_SPACE_H_
#define TDSE_DATAFLOW_SPACE_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "cost.h"
#include "layer.h"

namespace tdse::dataflow {

// What is left out without being looked at. None of it is without loss.
struct Pruning {
  double least_pe_use;  // shares of what there is
  double least_rf_use;
  double least_spm_use;
  int32_t no_spatial_reduction;
  int32_t whole_filters;  // filter rows and columns are not split in DRAM
};

// The sizes that each loop may be padded to; the first is its own.
using Sizes = std::vector<int32_t>[kLoops];

// What is worth keeping: any array with so many PEs in use, and an array.
struct Worth {
  std::function<bool(double)> pes;
  std::function<bool(const ArrayPart&)> array;
};

// `worth` may be null; `count` is increased by how many arrays fit and have worthy PEs.
std::vector<ArrayPart> Arrays(const Layer&, const Architecture&, const Sizes&, const Pruning&,
                              const Worth* worth, int64_t* count);
std::vector<TilePart> Tiles(const Layer&, const Architecture&, const Sizes&, const Pruning&);

inline bool Fits(const ArrayPart& array, const TilePart& tile) {
  for (int loop = 0; loop < kLoops; ++loop) {
    // Unsigned, which divides faster.
    if (uint32_t(tile.tile[loop]) % uint32_t(array.both[loop])) return false;
  }
  return true;
}

// Banks and bytes that a tile takes in the scratchpad fit.
bool FitsScratchpad(const Layer&, const Architecture&, const int32_t* tile);

}  // namespace tdse::dataflow

#endif  // TDSE_DATAFLOW_SPACE_H_
