// Simulated annealing of one placement, with moves that know the graph.
#ifndef TDSE_EVALUATE_IMPROVE_H_
#define TDSE_EVALUATE_IMPROVE_H_

#include <cstdint>
#include <vector>

#include "evaluator.h"

namespace tdse::evaluate {

// The figures that an objective may weigh.
constexpr int32_t kGoals[] = {kMakespan, kPeriodLength, kTotalEnergy};
constexpr int32_t kGoalCount = 3;

// What is minimised: the sum of the figures' logarithms times their weights, and of the violations
// times their penalties. As a sum of logarithms it is free of units: 0.01 is one per cent.
struct Goal {
  const double* weights;    // [kGoalCount]
  const double* penalties;  // [kRules]
};

struct Annealing {
  int64_t evaluations;
  double start, end;  // temperatures, which fall geometrically; in units of the goal
  uint64_t seed;
};

// The genes of one placement, which are changed in place.
struct Placement {
  uint8_t* variants;  // [n_ops]
  uint8_t* cuts;      // [n_links]
  double* priority;   // [n_ops]
  uint8_t* strict;    // [1]
};

// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
class Chance {
 public:
  explicit Chance(uint64_t seed) : state_(seed) {}
  uint64_t Next();
  // Below `end`, which is positive.
  int32_t Below(int32_t end);
  // At least 0 and below 1.
  double Share();

 private:
  uint64_t state_;
};

class Improver {
 public:
  explicit Improver(Evaluator* evaluator);

  // Anneals from the given placement on. What is left in `placement` is the best that was seen:
  // valid before invalid, then by the goal; `figures` are its figures. Returns its goal.
  double Improve(const Goal& goal, const Annealing& annealing, const Placement& placement,
                 double* figures);

 private:
  struct State {
    std::vector<uint8_t> variants, cuts;
    std::vector<double> priority;
    uint8_t strict = 0;
  };
  enum class Gene : uint8_t { kVariant, kCut, kPriority, kStrict };
  struct Change {
    Gene gene;
    int32_t index;
    double before;
  };

  double Value(const Goal& goal, double* figures, bool* valid);
  void Move(double reach);
  void MoveOne();
  void MoveBorder();
  void MoveCluster();
  void MoveWindow(double reach);
  void MakeRoom();
  void MoveCut();
  void MovePriority();
  void SetVariant(int32_t op, int32_t variant);
  void SetCut(int32_t link, bool cut);
  void Undo();
  int32_t AnyMovable();
  int32_t SomeChoice(int32_t op);
  int32_t AnyChoice(int32_t op);
  int32_t NeighbourChoice(int32_t op);
  double BytesOn(int32_t device, int32_t op) const;
  bool Allowed(int32_t op, int32_t variant) const;
  // Up to `most` operators from `op` on that are joined to it by links within its variant.
  void Collect(int32_t op, int32_t most);

  Evaluator* const evaluator_;
  const Problem& problem_;
  bool has_order_;  // some regions may run side by side, or take turns
  // By operator: what it may run as; its links, and the operators at their other ends.
  std::vector<int32_t> choice_begin_, choices_, near_begin_, near_, near_link_;
  std::vector<int32_t> movable_;  // operators with more than one choice
  State now_, best_;
  std::vector<Change> changes_;
  std::vector<int32_t> cluster_, mark_;
  int32_t marked_ = 0;
  double makespan_us_ = 0.0;
  Chance chance_{0};
};

}  // namespace tdse::evaluate

#endif  // TDSE_EVALUATE_IMPROVE_H_
