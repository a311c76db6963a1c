#include "improve.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tdse::evaluate {
namespace {

// How often each kind of move is tried, in per cent; the rest are single operators.
constexpr int32_t kBorderMoves = 25;
constexpr int32_t kClusterMoves = 12;
constexpr int32_t kWindowMoves = 13;
constexpr int32_t kRoomMoves = 10;
constexpr int32_t kCutMoves = 8;
constexpr int32_t kPriorityMoves = 10;
// Tries to find a link that joins two variants.
constexpr int32_t kBorderTries = 8;
// Most operators that a border is shifted by, and share of border moves that shift by one.
constexpr int32_t kMostShifted = 6;
// Tries for each operator to find some that make room.
constexpr int32_t kRoomTries = 2;
// Most operators that room is made for.
constexpr int32_t kMostPlaced = 4;
// Figures of empty problems are zero, which has no logarithm.
constexpr double kLeastFigure = 1e-9;

}  // namespace

uint64_t Chance::Next() {
  uint64_t z = state_ += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

int32_t Chance::Below(int32_t end) {
  return static_cast<int32_t>(((Next() >> 32) * static_cast<uint64_t>(end)) >> 32);
}

double Chance::Share() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

Improver::Improver(Evaluator* evaluator) : evaluator_(evaluator), problem_(evaluator->problem()) {
  const int32_t n_ops = problem_.n_ops;
  choice_begin_.push_back(0);
  for (int32_t op = 0; op < n_ops; ++op) {
    for (int32_t variant = 0; variant < problem_.n_variants; ++variant) {
      if (Allowed(op, variant)) choices_.push_back(variant);
    }
    const int32_t count = static_cast<int32_t>(choices_.size()) - choice_begin_.back();
    if (count > 1) movable_.push_back(op);
    choice_begin_.push_back(static_cast<int32_t>(choices_.size()));
  }
  near_begin_.assign(n_ops + 1, 0);
  for (const auto* ends : {&problem_.link_source, &problem_.link_target}) {
    for (const int32_t op : *ends) ++near_begin_[op];
  }
  int32_t total = 0;
  for (int32_t& begin : near_begin_) begin = total += begin;
  near_.resize(total);
  near_link_.resize(total);
  for (int32_t link = problem_.n_links - 1; link >= 0; --link) {
    const int32_t from = problem_.link_source[link], to = problem_.link_target[link];
    near_[--near_begin_[from]] = to;
    near_link_[near_begin_[from]] = link;
    near_[--near_begin_[to]] = from;
    near_link_[near_begin_[to]] = link;
  }
  has_order_ = problem_.n_devices > 1 || problem_.device_cores[0] > 1 || problem_.n_models > 1 ||
               std::isfinite(problem_.memory_bytes[0]);
  mark_.assign(n_ops, 0);
  now_.variants.resize(n_ops);
  now_.cuts.resize(problem_.n_links);
  now_.priority.resize(n_ops);
  best_ = now_;
  cluster_.reserve(n_ops);
  changes_.reserve(n_ops);
}

double Improver::Improve(const Goal& goal, const Annealing& annealing, const Placement& placement,
                         double* figures) {
  const int32_t n_ops = problem_.n_ops, n_links = problem_.n_links;
  std::copy_n(placement.variants, n_ops, now_.variants.begin());
  std::copy_n(placement.cuts, n_links, now_.cuts.begin());
  std::copy_n(placement.priority, n_ops, now_.priority.begin());
  now_.strict = *placement.strict;
  chance_ = Chance(annealing.seed);
  bool valid, best_valid;
  double value = Value(goal, figures, &best_valid), best = value;
  best_ = now_;
  makespan_us_ = figures[kMakespan];
  const int64_t count = n_ops ? annealing.evaluations : 0;
  const double fall = std::pow(annealing.end / annealing.start,
                               1.0 / static_cast<double>(std::max<int64_t>(count, 1)));
  double temperature = annealing.start;
  for (int64_t i = 0; i < count; ++i, temperature *= fall) {
    changes_.clear();
    Move(1.0 - static_cast<double>(i) / static_cast<double>(count));
    if (changes_.empty()) continue;
    const double moved = Value(goal, figures, &valid);
    const bool better = valid != best_valid ? valid : moved < best;
    if (better) {
      best = moved;
      best_valid = valid;
      best_ = now_;
      makespan_us_ = figures[kMakespan];
    }
    // The best valid placement is gone on from even if an invalid one looked better.
    if (better || moved <= value || chance_.Share() < std::exp((value - moved) / temperature)) {
      value = moved;
    } else {
      Undo();
    }
  }
  now_ = best_;
  std::copy_n(now_.variants.begin(), n_ops, placement.variants);
  std::copy_n(now_.cuts.begin(), n_links, placement.cuts);
  std::copy_n(now_.priority.begin(), n_ops, placement.priority);
  *placement.strict = now_.strict;
  return Value(goal, figures, &valid);
}

double Improver::Value(const Goal& goal, double* figures, bool* valid) {
  evaluator_->Evaluate(
      {now_.variants.data(), now_.cuts.data(), now_.priority.data(), now_.strict != 0}, figures);
  double value = 0.0;
  for (int32_t i = 0; i < kGoalCount; ++i) {
    if (goal.weights[i] == 0.0) continue;
    value += goal.weights[i] * std::log(std::max(figures[kGoals[i]], kLeastFigure));
  }
  *valid = true;
  for (int32_t rule = 0; rule < kRules; ++rule) {
    const double violation = figures[kFigures + rule];
    if (violation == 0.0) continue;
    *valid = false;
    value += goal.penalties[rule] * violation;
  }
  return value;
}

void Improver::Move(double reach) {
  int32_t kind = movable_.empty() ? kCutMoves + kPriorityMoves : 100;
  kind = chance_.Below(kind);
  if ((kind -= kCutMoves) < 0) return MoveCut();
  if ((kind -= kPriorityMoves) < 0) return has_order_ ? MovePriority() : MoveCut();
  if ((kind -= kBorderMoves) < 0) return MoveBorder();
  if ((kind -= kClusterMoves) < 0) return MoveCluster();
  if ((kind -= kWindowMoves) < 0) return MoveWindow(reach);
  if ((kind -= kRoomMoves) < 0 && problem_.has_capacity) return MakeRoom();
  MoveOne();
}

void Improver::MoveOne() {
  const int32_t op = AnyMovable();
  SetVariant(op, SomeChoice(op));
}

// Moves the border between two variants by a few operators.
void Improver::MoveBorder() {
  for (int32_t tries = 0; problem_.n_links && tries < kBorderTries; ++tries) {
    const int32_t link = chance_.Below(problem_.n_links);
    int32_t from = problem_.link_source[link], to = problem_.link_target[link];
    if (now_.variants[from] == now_.variants[to]) continue;
    if (chance_.Below(2)) std::swap(from, to);
    const int32_t variant = now_.variants[from];
    Collect(to, chance_.Below(2) ? 1 : 1 + chance_.Below(kMostShifted));
    for (const int32_t op : cluster_) SetVariant(op, variant);
    return;
  }
  MoveOne();
}

// Moves all operators that are joined to one.
void Improver::MoveCluster() {
  const int32_t op = AnyMovable();
  const int32_t variant = SomeChoice(op);
  Collect(op, problem_.n_ops);
  for (const int32_t one : cluster_) SetVariant(one, variant);
}

// Moves operators that follow one another in topological order.
void Improver::MoveWindow(double reach) {
  const int32_t n_ops = problem_.n_ops;
  const int32_t op = AnyMovable();
  // Log-uniform lengths: windows of all sizes are tried equally often, smaller ones later on.
  const double most = std::max(2.0, reach * n_ops);
  const auto length = static_cast<int32_t>(std::pow(most, chance_.Share())) + 1;
  const int32_t variant = AnyChoice(op);
  for (int32_t one = op; one < std::min(n_ops, op + length); ++one) SetVariant(one, variant);
}

// Moves operators to a device that is full, and others away from it until it is not.
void Improver::MakeRoom() {
  const int32_t op = AnyMovable();
  const int32_t variant = AnyChoice(op), device = problem_.variant_device[variant];
  Collect(op, 1 + chance_.Below(kMostPlaced));
  for (const int32_t one : cluster_) SetVariant(one, variant);
  double excess = -problem_.parameter_capacity_bytes[device];
  for (int32_t one = 0; one < problem_.n_ops; ++one) excess += BytesOn(device, one);
  for (int32_t tries = 0; excess > 0.0 && tries < kRoomTries * problem_.n_ops; ++tries) {
    const int32_t one = chance_.Below(problem_.n_ops);
    const double size_bytes = BytesOn(device, one);
    if (mark_[one] == marked_ || size_bytes == 0.0) continue;
    SetVariant(one, SomeChoice(one));
    excess += BytesOn(device, one) - size_bytes;
  }
}

void Improver::MoveCut() {
  if (!problem_.n_links) return;
  const int32_t link = chance_.Below(problem_.n_links);
  const bool cut = !now_.cuts[link];
  if (chance_.Below(2)) return SetCut(link, cut);
  // All links of one operator together: alone, a cut changes nothing where there is a way around.
  const int32_t op = problem_.link_source[link];
  for (int32_t i = near_begin_[op]; i < near_begin_[op + 1]; ++i) SetCut(near_link_[i], cut);
}

void Improver::MovePriority() {
  if (chance_.Below(16) == 0) {
    changes_.push_back({Gene::kStrict, 0, static_cast<double>(now_.strict)});
    now_.strict = !now_.strict;
    return;
  }
  const int32_t op = chance_.Below(problem_.n_ops);
  changes_.push_back({Gene::kPriority, op, now_.priority[op]});
  const double share = chance_.Share();
  // A quarter go back to what the schedule does by itself.
  now_.priority[op] = share < 0.25 ? 0.0 : (chance_.Share() - 0.5) * share * makespan_us_;
}

void Improver::SetVariant(int32_t op, int32_t variant) {
  if (variant == now_.variants[op] || !Allowed(op, variant)) return;
  changes_.push_back({Gene::kVariant, op, static_cast<double>(now_.variants[op])});
  now_.variants[op] = static_cast<uint8_t>(variant);
}

void Improver::SetCut(int32_t link, bool cut) {
  if (now_.cuts[link] == cut) return;
  changes_.push_back({Gene::kCut, link, static_cast<double>(now_.cuts[link])});
  now_.cuts[link] = cut;
}

void Improver::Undo() {
  for (auto change = changes_.rbegin(); change != changes_.rend(); ++change) {
    switch (change->gene) {
      case Gene::kVariant:
        now_.variants[change->index] = static_cast<uint8_t>(change->before);
        break;
      case Gene::kCut:
        now_.cuts[change->index] = change->before != 0.0;
        break;
      case Gene::kPriority:
        now_.priority[change->index] = change->before;
        break;
      case Gene::kStrict:
        now_.strict = change->before != 0.0;
        break;
    }
  }
}

int32_t Improver::AnyMovable() {
  return movable_[chance_.Below(static_cast<int32_t>(movable_.size()))];
}

int32_t Improver::SomeChoice(int32_t op) {
  return chance_.Below(2) ? NeighbourChoice(op) : AnyChoice(op);
}

int32_t Improver::AnyChoice(int32_t op) {
  const int32_t begin = choice_begin_[op];
  return choices_[begin + chance_.Below(choice_begin_[op + 1] - begin)];
}

// The variant of an operator that it is linked to; SetVariant refuses what is not allowed.
int32_t Improver::NeighbourChoice(int32_t op) {
  const int32_t begin = near_begin_[op], count = near_begin_[op + 1] - begin;
  return count ? now_.variants[near_[begin + chance_.Below(count)]] : AnyChoice(op);
}

// What an operator's constants take of a device.
double Improver::BytesOn(int32_t device, int32_t op) const {
  const int32_t variant = now_.variants[op];
  if (problem_.variant_device[variant] != device) return 0.0;
  return static_cast<double>(problem_.parameter_bytes[op]);
}

bool Improver::Allowed(int32_t op, int32_t variant) const {
  return !problem_.choices[op * problem_.n_variants + variant].is_illegal;
}

void Improver::Collect(int32_t op, int32_t most) {
  ++marked_;
  cluster_.assign(1, op);
  mark_[op] = marked_;
  for (size_t i = 0; i < cluster_.size() && static_cast<int32_t>(cluster_.size()) < most; ++i) {
    const int32_t one = cluster_[i];
    for (int32_t j = near_begin_[one]; j < near_begin_[one + 1]; ++j) {
      const int32_t other = near_[j];
      if (mark_[other] == marked_ || now_.variants[other] != now_.variants[op]) continue;
      mark_[other] = marked_;
      cluster_.push_back(other);
      if (static_cast<int32_t>(cluster_.size()) == most) return;
    }
  }
}

}  // namespace tdse::evaluate
