// What a mapping costs, in two parts that can be computed once and combined often: what the
// register files and the PE array do (ArrayPart), and what one tile of the scratchpad needs of DRAM
// (TilePart).
//
// Additions and multiplications are made in the order of python/tdse/dataflow/reference.py, so that
// results are equal to the last bit. All counts are whole numbers far below 2^53, in doubles.
#ifndef TDSE_DATAFLOW_COST_H_
#define TDSE_DATAFLOW_COST_H_

#include <cstdint>

#include "layer.h"

namespace tdse::dataflow {

// Loops in register files and in space.
struct ArrayPart {
  int32_t rf[kLoops];
  int32_t spatial[kLoops];
  int32_t both[kLoops];  // their product
  double passes_product;
  double irrelevant[kOperands];
  double compute_cycles;                // of one pass
  double distribute_cycles[kOperands];  // to bring an operand to all PEs
  double reduce_cycles;
  double noc_pj[kOperands];
  double spm_pj[kOperands];
  double reduce_pj;
};

// Loops in DRAM, and the tile of the scratchpad that is left.
struct TilePart {
  int32_t dram[kLoops];
  int32_t tile[kLoops];
  double product;  // of the tile
  double tile_irrelevant[kOperands];
  double passes;  // product of the loops in DRAM
  double dram_irrelevant[kOperands];
  double dma_cycles[kOperands];
  double dma_pj[kOperands];
  double mac_pj, rf_pj;  // of the whole layer, without reductions
};

// The operand that is used again at a level, and how often; of all others, each pass has new data.
// The model knows of no more than one, because no loop is irrelevant to two.
struct Reuse {
  int operand = -1;
  double factor = 1;
  double of(int other) const { return other == operand ? factor : 1; }
};

struct Cost {
  double cycles, energy_pj;
  double edp() const { return cycles * energy_pj; }
};

// All figures of a mapping, in the order of python/tdse/dataflow/native.py.
enum Figure {
  kCycles,
  kEnergy,
  kComputeCycles,
  kPassCycles,
  kDmaCycles,
  kMacEnergy,
  kRfEnergy,
  kNocEnergy,
  kSpmEnergy,
  kDramEnergy,
  kFigures
};

ArrayPart MakeArray(const Layer&, const Architecture&, const int32_t* rf, const int32_t* spatial);
TilePart MakeTile(const Layer&, const Architecture&, const int32_t* dram, const int32_t* tile);

// `figures`: null, or kFigures numbers to fill.
Cost Combine(const Architecture&, const ArrayPart&, const TilePart&, Reuse spm, Reuse dram,
             double* figures = nullptr);

// The reuse that the innermost loops of an order give; `order` has the outermost loop first.
Reuse ReuseOf(const int32_t* factors, const int8_t* order);

// The orders of a level that can be best: as much reuse as possible of one of the operands. An
// order that leaves some of it out costs no less energy and no fewer cycles.
struct Choices {
  Reuse reuse[kOperands];
  int count = 0;
};
Choices BestReuses(const double* irrelevant);

// Calls `visit(cost, spm, dram)` for all orders that can be best.
template <typename Visit>
void ForOrders(const Architecture& arch, const ArrayPart& array, const TilePart& tile,
               const Visit& visit) {
  double spm_irrelevant[kOperands];
  for (int operand = 0; operand < kOperands; ++operand) {
    spm_irrelevant[operand] = tile.tile_irrelevant[operand] / array.irrelevant[operand];
  }
  const Choices spm = BestReuses(spm_irrelevant), dram = BestReuses(tile.dram_irrelevant);
  for (int i = 0; i < spm.count; ++i) {
    for (int j = 0; j < dram.count; ++j) {
      visit(Combine(arch, array, tile, spm.reuse[i], dram.reuse[j]), spm.reuse[i], dram.reuse[j]);
    }
  }
}

}  // namespace tdse::dataflow

#endif  // TDSE_DATAFLOW_COST_H_
