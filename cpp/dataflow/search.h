// The best mapping of a layer: by looking at all that a pruning leaves, or exactly by bounds.
#ifndef TDSE_DATAFLOW_SEARCH_H_
#define TDSE_DATAFLOW_SEARCH_H_

#include <cstdint>

#include "cost.h"
#include "layer.h"
#include "space.h"

namespace tdse::dataflow {

enum Objective { kEdp, kLeastEnergy, kLeastCycles, kObjectives };

double ValueOf(Objective, const Cost&);

struct Found {
  double value;  // infinite if there is none
  int32_t dram[kLoops], spm[kLoops], rf[kLoops], spatial[kLoops];
  int32_t dram_operand, spm_operand;  // that are used again; -1 for none
};

struct Count {
  int64_t arrays = 0, tiles = 0;  // that fit
  int64_t mappings = 0;           // tilings that were evaluated, each with all its orders
};

// Evaluates every mapping that the pruning leaves; of equal ones the first counts.
// `found` has kObjectives entries; null to count only.
Count Exhaust(const Layer&, const Architecture&, const Sizes&, const Pruning&, Found* found);

struct Bounded {
  Found best;
  double bound;  // no mapping of the space is better than that
  Count count;
};

// Finds a mapping that no other of the whole space beats, or until `seconds` are over.
Bounded Bound(const Layer&, const Architecture&, const Sizes&, Objective, double seconds);

}  // namespace tdse::dataflow

#endif  // TDSE_DATAFLOW_SEARCH_H_
