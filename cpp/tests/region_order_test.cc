// The order of regions, against one that is found by looking at every pair.
#include "region_order.h"

#include <random>
#include <vector>

#include "plans.h"
#include "testing.h"

namespace tdse {
namespace {

TEST(RegionsRunAfterWhatTheyReadAndAfterThoseOnTheSameLanes) {
  std::mt19937 random(14);
  size_t ordered = 0;
  size_t unordered = 0;
  for (int i = 0; i < 500; ++i) {
    const Plan plan = RandomPlan(&random, 4);
    const RegionOrder order(plan);
    const std::vector<std::vector<bool>> before = RegionsBefore(plan);
    for (size_t a = 0; a < plan.regions.size(); ++a) {
      for (size_t b = 0; b < plan.regions.size(); ++b) {
        CHECK_EQUAL(order.Precedes(a, b), before[a][b]);
        (before[a][b] ? ordered : unordered) += a < b ? 1 : 0;
      }
    }
  }
  CHECK(ordered > 1000 && unordered > 1000);
}

TEST(SuccessorsAreTheOrderAndNoMore) {
  std::mt19937 random(15);
  for (int i = 0; i < 500; ++i) {
    const Plan plan = RandomPlan(&random, 4);
    const RegionOrder order(plan);
    const size_t count = plan.regions.size();
    std::vector<std::vector<bool>> reached(count, std::vector<bool>(count, false));
    std::vector<uint32_t> waits_for(count, 0);
    for (size_t a = count; a-- > 0;) {
      for (const uint32_t next : order.successors(a)) {
        ++waits_for[next];
        reached[a][next] = true;
        for (size_t b = 0; b < count; ++b) reached[a][b] = reached[a][b] || reached[next][b];
        // Not also by way of another successor.
        for (const uint32_t other : order.successors(a)) CHECK(!order.Precedes(other, next));
      }
    }
    CHECK(reached == RegionsBefore(plan));
    CHECK(waits_for == order.waits_for());
  }
}

TEST(OneLaneIsOneAfterTheOther) {
  std::mt19937 random(16);
  for (int i = 0; i < 100; ++i) {
    const Plan plan = RandomPlan(&random);
    const RegionOrder order(plan);
    for (uint32_t r = 0; r + 1 < plan.regions.size(); ++r) {
      CHECK(order.successors(r) == std::vector<uint32_t>{r + 1});
    }
  }
}

}  // namespace
}  // namespace tdse
