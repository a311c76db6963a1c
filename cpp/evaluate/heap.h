// Regions with their keys: the least key first, then the lowest region.
#ifndef TDSE_EVALUATE_HEAP_H_
#define TDSE_EVALUATE_HEAP_H_

#include <cstdint>
#include <vector>

namespace tdse::evaluate {

// Most heaps hold one region or none, so both ends of it are inline.
class Heap {
 public:
  struct Entry {
    double key;
    int32_t region;

    bool IsBefore(const Entry& other) const {
      return (key < other.key) | ((key == other.key) & (region < other.region));
    }
  };

  explicit Heap(int32_t most) : entries_(most) {}

  bool empty() const { return size_ == 0; }
  const Entry& top() const { return entries_[0]; }

  void Push(double key, int32_t region) {
    const Entry entry = {key, region};
    int32_t place = size_++;
    while (place > 0) {
      const int32_t above = (place - 1) / 2;
      if (!entry.IsBefore(entries_[above])) break;
      entries_[place] = entries_[above];
      place = above;
    }
    entries_[place] = entry;
  }

  void Pop() {
    const Entry entry = entries_[--size_];
    int32_t place = 0;
    for (int32_t below = 1; below < size_; below = 2 * place + 1) {
      if (below + 1 < size_) below += entries_[below + 1].IsBefore(entries_[below]);
      if (!entries_[below].IsBefore(entry)) break;
      entries_[place] = entries_[below];
      place = below;
    }
    entries_[place] = entry;
  }

 private:
  int32_t size_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace tdse::evaluate

#endif  // TDSE_EVALUATE_HEAP_H_
