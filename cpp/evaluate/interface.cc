// What python/tdse/search/native.py calls.
#include <algorithm>
#include <cstdint>
#include <new>

#include "evaluator.h"

using tdse::evaluate::Evaluator;
using tdse::evaluate::Genes;
using tdse::evaluate::ProblemArrays;
using tdse::evaluate::Transfer;

#define TDSE_EVALUATE_CALL extern "C" __attribute__((visibility("default")))

// Null if there is not enough memory.
TDSE_EVALUATE_CALL Evaluator* TdseEvaluatorCreate(const ProblemArrays* arrays) {
  try {
    return new Evaluator(*arrays);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

TDSE_EVALUATE_CALL void TdseEvaluatorDestroy(Evaluator* evaluator) { delete evaluator; }

TDSE_EVALUATE_CALL int32_t TdseEvaluatorFigures(const Evaluator* evaluator) {
  return evaluator->n_figures();
}

// Evaluates `count` placements. `cuts` and `priority` may be null, and so may `region_of`.
//   variants  [count, n_ops]
//   cuts      [count, n_links]
//   priority  [count, n_ops]
//   figures   [count, TdseEvaluatorFigures]
//   region_of [count, n_ops]
TDSE_EVALUATE_CALL void TdseEvaluate(Evaluator* evaluator, int64_t count, const uint8_t* variants,
                                     const uint8_t* cuts, const double* priority, int32_t strict,
                                     double* figures, int32_t* region_of) {
  const int64_t n_ops = evaluator->problem().n_ops, n_links = evaluator->problem().n_links;
  for (int64_t i = 0; i < count; ++i) {
    evaluator->Evaluate({variants + i * n_ops, cuts ? cuts + i * n_links : nullptr,
                         priority ? priority + i * n_ops : nullptr, strict != 0},
                        figures + i * evaluator->n_figures());
    for (int64_t op = 0; region_of && op < n_ops; ++op) {
      region_of[i * n_ops + op] = evaluator->regions().of(static_cast<int32_t>(op));
    }
  }
}

// The schedule of the placement that was evaluated last.
//   region_us   [2, n_ops], starts and ends of its regions
//   transfer    [n_values * n_memories, 3], value, source and target of its transfers
//   transfer_us [n_values * n_memories, 2], their starts and ends
// Returns the number of transfers.
TDSE_EVALUATE_CALL int32_t TdseEvaluatorSchedule(const Evaluator* evaluator, double* region_us,
                                                 int32_t* transfer, double* transfer_us) {
  for (int32_t region = 0; region < evaluator->regions().size(); ++region) {
    region_us[region] = evaluator->start_us(region);
    region_us[evaluator->problem().n_ops + region] = evaluator->end_us(region);
  }
  for (const Transfer& one : evaluator->transfers()) {
    for (const int32_t number : {one.value, one.source, one.target}) *transfer++ = number;
    *transfer_us++ = one.start_us;
    *transfer_us++ = one.end_us;
  }
  return static_cast<int32_t>(evaluator->transfers().size());
}
