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
      waiting_(problem.n_ops),
      knotted_(problem.n_ops),
      order_(problem.n_ops) {}

void Regions::Form(const uint8_t* variants, const uint8_t* cuts) {
  const int32_t* const source = problem_.link_source.data();
  const int32_t* const target = problem_.link_target.data();
  std::iota(parent_.begin(), parent_.end(), 0);
  for (int32_t link = 0; link < problem_.n_links; ++link) {
    joins_[link] = variants[source[link]] == variants[target[link]] && !(cuts && cuts[link]);
    if (joins_[link]) Join(source[link], target[link]);
  }
  Number();
  const int32_t n_ordered = Order();
  if (n_ordered == n_regions_) return;
  Untangle(n_ordered);
  Number();
  Order();
}

int32_t Regions::Find(int32_t op) {
  while (parent_[op] != op) op = parent_[op] = parent_[parent_[op]];
  return op;
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

int32_t Regions::Order() {
  std::fill_n(waiting_.begin(), n_regions_, 0);
  for (int32_t link = 0; link < problem_.n_links; ++link) {
    const int32_t from = region_of_[problem_.link_source[link]];
    const int32_t to = region_of_[problem_.link_target[link]];
    waiting_[to] += from != to;
  }
  int32_t n_ordered = 0;
  for (int32_t region = 0; region < n_regions_; ++region) {
    if (!waiting_[region]) order_[n_ordered++] = region;
  }
  for (int32_t next = 0; next < n_ordered; ++next) {
    const int32_t region = order_[next];
    for (const int32_t* op = begin(region); op != end(region); ++op) {
      for (int32_t link = problem_.out_begin[*op]; link < problem_.out_begin[*op + 1]; ++link) {
        const int32_t to = region_of_[problem_.link_target[link]];
        if (to != region && !--waiting_[to]) order_[n_ordered++] = to;
      }
    }
  }
  return n_ordered;
}

void Regions::Untangle(int32_t n_ordered) {
  const int32_t* const source = problem_.link_source.data();
  const int32_t* const target = problem_.link_target.data();
  std::fill_n(knotted_.begin(), n_regions_, 1);
  for (int32_t next = 0; next < n_ordered; ++next) knotted_[order_[next]] = 0;
  // The same from the end, among what is left.
  std::fill_n(waiting_.begin(), n_regions_, 0);
  for (int32_t link = 0; link < problem_.n_links; ++link) {
    const int32_t from = region_of_[source[link]], to = region_of_[target[link]];
    waiting_[from] += from != to && knotted_[to];
  }
  int32_t n_free = 0;
  for (int32_t region = 0; region < n_regions_; ++region) {
    if (knotted_[region] && !waiting_[region]) order_[n_free++] = region;
  }
  for (int32_t next = 0; next < n_free; ++next) {
    const int32_t region = order_[next];
    knotted_[region] = 0;
    for (const int32_t* op = begin(region); op != end(region); ++op) {
      for (int32_t i = problem_.in_links.begin[*op]; i < problem_.in_links.begin[*op + 1]; ++i) {
        const int32_t from = region_of_[source[problem_.in_links.items[i]]];
        if (from == region || !knotted_[from]) continue;
        if (!--waiting_[from]) order_[n_free++] = from;
      }
    }
  }
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
