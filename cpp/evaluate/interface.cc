// What python/tdse/search/native.py calls.
#include <algorithm>
#include <cstdint>
#include <new>

#include "evaluator.h"
#include "improve.h"

using tdse::evaluate::Annealing;
using tdse::evaluate::Evaluator;
using tdse::evaluate::Goal;
using tdse::evaluate::Improver;
using tdse::evaluate::Placement;
using tdse::evaluate::ProblemArrays;
using tdse::evaluate::Transfer;

#define TDSE_EVALUATE_CALL extern "C" __attribute__((visibility("default")))

// What Python holds: an evaluator, and an improver that works with it.
struct TdseEvaluator {
  explicit TdseEvaluator(const ProblemArrays& arrays) : evaluator(arrays), improver(&evaluator) {}
  Evaluator evaluator;
  Improver improver;
};

// Null if there is not enough memory.
TDSE_EVALUATE_CALL TdseEvaluator* TdseEvaluatorCreate(const ProblemArrays* arrays) {
  try {
    return new TdseEvaluator(*arrays);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

TDSE_EVALUATE_CALL void TdseEvaluatorDestroy(TdseEvaluator* self) { delete self; }

TDSE_EVALUATE_CALL int32_t TdseEvaluatorFigures(const TdseEvaluator* self) {
  return self->evaluator.n_figures();
}

// Evaluates `count` placements. `cuts` and `priority` may be null, and so may `region_of` and
// `peak_bytes`.
//   variants  [count, n_ops]
//   cuts      [count, n_links]
//   priority  [count, n_ops]
//   strict    [count]
//   figures   [count, TdseEvaluatorFigures]
//   region_of  [count, n_ops]
//   peak_bytes [count, n_memories]
TDSE_EVALUATE_CALL void TdseEvaluate(TdseEvaluator* self, int64_t count, const uint8_t* variants,
                                     const uint8_t* cuts, const double* priority,
                                     const uint8_t* strict, double* figures, int32_t* region_of,
                                     double* peak_bytes) {
  Evaluator& evaluator = self->evaluator;
  const int64_t n_ops = evaluator.problem().n_ops, n_links = evaluator.problem().n_links;
  for (int64_t i = 0; i < count; ++i) {
    evaluator.Evaluate({variants + i * n_ops, cuts ? cuts + i * n_links : nullptr,
                        priority ? priority + i * n_ops : nullptr, strict[i] != 0},
                       figures + i * evaluator.n_figures(),
                       peak_bytes ? peak_bytes + i * evaluator.problem().n_memories : nullptr);
    for (int64_t op = 0; region_of && op < n_ops; ++op) {
      region_of[i * n_ops + op] = evaluator.regions().of(static_cast<int32_t>(op));
    }
  }
}

// Anneals one placement in place.
//   weights   [3], of latency, period and energy
//   penalties [number of rules], of violations
//   variants  [n_ops], cuts [n_links], priority [n_ops], strict [1]
//   figures   [TdseEvaluatorFigures], of what it ends with
// Returns what `Goal` makes of the figures.
TDSE_EVALUATE_CALL double TdseImprove(TdseEvaluator* self, const double* weights,
                                      const double* penalties, int64_t evaluations, double start,
                                      double end, uint64_t seed, uint8_t* variants, uint8_t* cuts,
                                      double* priority, uint8_t* strict, double* figures) {
  return self->improver.Improve(Goal{weights, penalties}, Annealing{evaluations, start, end, seed},
                                Placement{variants, cuts, priority, strict}, figures);
}

// The schedule of the placement that was evaluated last.
//   region_us   [2, n_ops], starts and ends of its regions
//   transfer    [n_values * n_memories, 3], value, source and target of its transfers
//   transfer_us [n_values * n_memories, 2], their starts and ends
// Returns the number of transfers.
TDSE_EVALUATE_CALL int32_t TdseEvaluatorSchedule(const TdseEvaluator* self, double* region_us,
                                                 int32_t* transfer, double* transfer_us) {
  const Evaluator& evaluator = self->evaluator;
  for (int32_t region = 0; region < evaluator.regions().size(); ++region) {
    region_us[region] = evaluator.start_us(region);
    region_us[evaluator.problem().n_ops + region] = evaluator.end_us(region);
  }
  for (int32_t i = 0; i < evaluator.n_transfers(); ++i) {
    const Transfer one = evaluator.transfer(i);
    for (const int32_t number : {one.value, one.source, one.target}) *transfer++ = number;
    *transfer_us++ = one.start_us;
    *transfer_us++ = one.end_us;
  }
  return evaluator.n_transfers();
}
