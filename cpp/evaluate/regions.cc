#include "regions.h"

#include <algorithm>
#include <numeric>

namespace tdse::evaluate {

Regions::Regions(const Problem& problem)
    : problem_(problem),
      joins_(problem.n_links),
      parent_(problem.n_ops),
      region_of_(problem.n_ops),
      level_(problem.n_ops),
      ops_(problem.n_ops),
      begin_(problem.n_ops + 1),
      from_(problem.n_links),
      to_(problem.n_links),
      waiting_(problem.n_ops),
      next_begin_(problem.n_ops + 1),
      next_(problem.n_links),
      knotted_(problem.n_ops),
      order_(problem.n_ops) {}

void Regions::Form(const uint8_t* variants, const uint8_t* cuts) {
  const int32_t* const source = problem_.link_source.data();
  const int32_t* const target = problem_.link_target.data();
  std::iota(parent_.begin(), parent_.end(), 0);
  for (int32_t link = 0; link < problem_.n_links; ++link) {
    joins_[link] = variants[source[link]] == variants[target[link]];
  }
  for (int32_t link = 0; cuts && link < problem_.n_links; ++link) joins_[link] &= !cuts[link];
  for (int32_t link = 0; link < problem_.n_links; ++link) {
    if (joins_[link]) Join(source[link], target[link]);
  }
  Number();
  ListCrossings();
  const int32_t n_ordered = Peel(from_, to_);
  if (n_ordered == n_regions_) return;
  Untangle(n_ordered);
  Number();
  ListCrossings();
  Peel(from_, to_);
}

int32_t Regions::Find(int32_t op) {
  int32_t above = parent_[op];
  while (above != parent_[above]) {
    parent_[op] = parent_[above];
    op = above;
    above = parent_[op];
  }
  return above;
}

void Regions::Join(int32_t one, int32_t other) {
  one = Find(one);
  other = Find(other);
  if (one < other) {
    parent_[other] = one;
  } else {
    parent_[one] = other;
  }
}

void Regions::Number() {
  const int32_t n_ops = problem_.n_ops;
  n_regions_ = 0;
  // A parent is lower, and so has its region already; `begin_` counts operators at first.
  for (int32_t op = 0; op < n_ops; ++op) {
    if (parent_[op] == op) {
      region_of_[op] = n_regions_;
      begin_[n_regions_++] = 1;
    } else {
      region_of_[op] = region_of_[parent_[op]];
      ++begin_[region_of_[op]];
    }
  }
  int32_t total = 0;
  for (int32_t region = 0; region < n_regions_; ++region) begin_[region] = total += begin_[region];
  begin_[n_regions_] = total;
  for (int32_t op = n_ops - 1; op >= 0; --op) ops_[--begin_[region_of_[op]]] = op;
}

void Regions::ListCrossings() {
  int32_t count = 0;
  for (int32_t link = 0; link < problem_.n_links; ++link) {
    from_[count] = region_of_[problem_.link_source[link]];
    to_[count] = region_of_[problem_.link_target[link]];
    count += from_[count] != to_[count];
  }
  n_crossings_ = count;
}

int32_t Regions::Peel(const std::vector<int32_t>& from, const std::vector<int32_t>& to) {
  std::fill_n(waiting_.begin(), n_regions_, 0);
  std::fill_n(next_begin_.begin(), n_regions_ + 1, 0);
  for (int32_t i = 0; i < n_crossings_; ++i) {
    ++waiting_[to[i]];
    ++next_begin_[from[i]];
  }
  int32_t total = 0, n_peeled = 0;
  for (int32_t region = 0; region < n_regions_; ++region) {
    next_begin_[region] = total += next_begin_[region];
    order_[n_peeled] = region;
    n_peeled += waiting_[region] == 0;
  }
  next_begin_[n_regions_] = total;
  for (int32_t i = 0; i < n_crossings_; ++i) next_[--next_begin_[from[i]]] = to[i];
  for (int32_t i = 0; i < n_peeled; ++i) {
    const int32_t region = order_[i];
    for (int32_t j = next_begin_[region]; j < next_begin_[region + 1]; ++j) {
      if (!--waiting_[next_[j]]) order_[n_peeled++] = next_[j];
    }
  }
  return n_peeled;
}

void Regions::Untangle(int32_t n_ordered) {
  const int32_t* const source = problem_.link_source.data();
  const int32_t* const target = problem_.link_target.data();
  std::fill_n(knotted_.begin(), n_regions_, 1);
  for (int32_t i = 0; i < n_ordered; ++i) knotted_[order_[i]] = 0;
  // The same from the end, among what is left.
  int32_t n_left = 0;
  for (int32_t i = 0; i < n_crossings_; ++i) {
    from_[n_left] = from_[i];
    to_[n_left] = to_[i];
    n_left += knotted_[from_[i]] && knotted_[to_[i]];
  }
  n_crossings_ = n_left;
  const int32_t n_free = Peel(to_, from_);
  for (int32_t i = 0; i < n_free; ++i) knotted_[order_[i]] = 0;
  for (int32_t op = 0; op < problem_.n_ops; ++op) {
    level_[op] = 0;
    if (knotted_[region_of_[op]]) parent_[op] = op;
  }
  // Links are in the order of their sources, so a level is known before it is passed on.
  for (int32_t link = 0; link < problem_.n_links; ++link) {
    const int32_t from = source[link], to = target[link];
    if (!knotted_[region_of_[from]] || !knotted_[region_of_[to]]) continue;
    level_[to] = std::max(level_[to], level_[from] + !joins_[link]);
  }
  for (int32_t link = 0; link < problem_.n_links; ++link) {
    const int32_t from = source[link], to = target[link];
    if (joins_[link] && knotted_[region_of_[from]] && level_[from] == level_[to]) Join(from, to);
  }
}

}  // namespace tdse::evaluate
