// One run of all models for each placement of a batch: when everything happens, and what it costs.
//
// python/tdse/search/reference.py is the specification. Additions and comparisons are made in its
// order, so that results are equal to the last bit; no multiplication may be fused with an
// addition.
#ifndef TDSE_EVALUATE_EVALUATOR_H_
#define TDSE_EVALUATE_EVALUATOR_H_

#include <cstdint>
#include <vector>

#include "placed.h"
#include "problem.h"
#include "regions.h"
#include "timeline.h"

namespace tdse::evaluate {

// The rules in the order of python/tdse/search/schedule.py.
enum Rule {
  kIllegal,
  kForbiddenPair,
  kSingleRegion,
  kPrefix,
  kNoLink,
  kParameters,
  kMemory,
  kDeadline,
  kPeriod,
  kEnergy,
  kRules
};

// The figures of a placement: these, then kRules violations, then the latency of each model.
enum Figure { kMakespan, kPeriodLength, kActiveEnergy, kTotalEnergy, kRegionCount, kFigures };

// Evaluates one placement after the other in memory that is allocated once; for one thread.
class Evaluator {
 public:
  explicit Evaluator(const ProblemArrays& arrays);
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

  const Problem& problem() const { return problem_; }
  // How many numbers Evaluate writes.
  int32_t n_figures() const;
  // `peak_bytes`: of each memory; null if nobody asks for them, which is faster where no memory is
  // limited.
  void Evaluate(const Genes& genes, double* figures, double* peak_bytes = nullptr);

  // Of the last placement.
  const Regions& regions() const { return placed_.formed(); }
  double start_us(int32_t region) const { return placed_.region(region).start_us; }
  double end_us(int32_t region) const { return placed_.region(region).end_us; }
  int32_t n_transfers() const { return run_.n_transfers(); }
  Transfer transfer(int32_t index) const { return run_.transfer(index); }

 private:
  void AddLoads();
  void CountSlots();
  void CountBrokenRules(double* violations) const;

  const Problem problem_;
  Placed placed_;
  Timeline run_;
  std::vector<int32_t> slots_;   // by device
  std::vector<double> factor_;   // by device: how much longer its regions take in a pipeline
  std::vector<double> load_us_;  // by device and model
  double active_uj_ = 0.0, period_us_ = 0.0, overload_ = 0.0;
};

}  // namespace tdse::evaluate

#endif  // TDSE_EVALUATE_EVALUATOR_H_
