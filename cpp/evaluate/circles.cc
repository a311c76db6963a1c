#include "circles.h"

#include <algorithm>
#include <limits>

namespace tdse::evaluate {
namespace {

// Of a node whose circle is closed: it is no longer a way back.
constexpr int32_t kClosed = std::numeric_limits<int32_t>::max();

}  // namespace

Circles::Circles(int32_t most_nodes, int32_t most_edges)
    : edge_to_(most_edges),
      edge_next_(most_edges),
      next_(most_nodes),
      seen_(most_nodes),
      lowest_(most_nodes),
      circle_of_(most_nodes),
      path_(most_nodes),
      open_(most_nodes) {}

void Circles::Clear(int32_t n_nodes) {
  n_nodes_ = n_nodes;
  n_edges_ = 0;
  std::fill_n(next_.begin(), n_nodes, -1);
}

void Circles::Find(int32_t* order) {
  std::fill_n(seen_.begin(), n_nodes_, 0);
  n_circles_ = n_seen_ = n_ordered_ = n_open_ = 0;
  for (int32_t node = 0; node < n_nodes_; ++node) {
    if (!seen_[node]) Search(node, order);
  }
}

void Circles::Search(int32_t root, int32_t* order) {
  int32_t length = 0, node = root;
  seen_[node] = lowest_[node] = ++n_seen_;
  open_[n_open_++] = node;
  while (true) {
    if (next_[node] >= 0) {
      const int32_t to = edge_to_[next_[node]];
      next_[node] = edge_next_[next_[node]];
      if (seen_[to]) {
        lowest_[node] = std::min(lowest_[node], seen_[to]);
      } else {
        path_[length++] = node;
        node = to;
        seen_[node] = lowest_[node] = ++n_seen_;
        open_[n_open_++] = node;
      }
      continue;
    }
    if (lowest_[node] == seen_[node]) {
      int32_t member;
      do {
        member = open_[--n_open_];
        seen_[member] = kClosed;
        circle_of_[member] = n_circles_;
        order[n_ordered_++] = member;
      } while (member != node);
      ++n_circles_;
    }
    if (length == 0) return;
    const int32_t below = path_[--length];
    lowest_[below] = std::min(lowest_[below], lowest_[node]);
    node = below;
  }
}

}  // namespace tdse::evaluate
