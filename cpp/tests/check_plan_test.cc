// Plans whose parts do not fit together, each with the reason that is given.
#include "check_plan.h"

#include <string>

#include "plans.h"
#include "testing.h"

namespace tdse {
namespace {

// The example with one change, which must be refused for a reason that contains `reason`.
template <typename Change>
void CheckRefused(const std::string& reason, const Change& change) {
  Plan plan = ExamplePlan();
  CheckPlan(plan);
  change(&plan);
  CHECK_THROWS("the executor plan is malformed: " + reason, CheckPlan(plan));
}

TEST(RefusesTensorsThatDoNotExist) {
  CheckRefused("an input of the plan is a tensor that does not exist",
               [](Plan* plan) { plan->inputs = {5}; });
  CheckRefused("an output of the plan is a tensor that does not exist",
               [](Plan* plan) { plan->outputs = {UINT32_MAX}; });
  CheckRefused("region 'first': an input is a tensor that does not exist",
               [](Plan* plan) { plan->regions[0].inputs = {99}; });
  CheckRefused("region 'first': an output is a tensor that does not exist",
               [](Plan* plan) { plan->regions[0].outputs = {99}; });
  CheckRefused("region 'second': an argument of any is a tensor that does not exist",
               [](Plan* plan) { plan->regions[1].steps[1].arguments = {99, 4}; });
}

TEST(RefusesNoItemsInFlightAndTooMany) {
  for (const uint32_t items : {uint32_t{0}, uint32_t{1025}, UINT32_MAX}) {
    CheckRefused("it allows no items in flight, or too many",
                 [items](Plan* plan) { plan->items_per_lane = items; });
  }
}

TEST(RefusesBlobsThatDoNotExist) {
  for (const int32_t blob : {-2, 2, INT32_MAX, INT32_MIN}) {
    CheckRefused("tensor 'x' refers to a blob that does not exist",
                 [blob](Plan* plan) { plan->tensors[0].constant_blob = blob; });
    CheckRefused("region 'first': it refers to a blob that does not exist",
                 [blob](Plan* plan) { plan->regions[0].blob = blob; });
  }
}

TEST(RefusesConstantsOfAnotherSize) {
  CheckRefused("the value of tensor 'weights' is not of the tensor's size",
               [](Plan* plan) { --plan->blobs[1].size; });
}

TEST(RefusesValuesThatAreReadTooEarly) {
  CheckRefused("region 'first': input tensor 'x' is not computed before it",
               [](Plan* plan) { plan->inputs.clear(); });
  CheckRefused("region 'second': input tensor 'mid' is not computed before it",
               [](Plan* plan) { std::swap(plan->regions[0], plan->regions[1]); });
  CheckRefused("output tensor 'scratch' is computed by no region",
               [](Plan* plan) { plan->outputs = {3}; });
}

TEST(RefusesValuesThatAreWrittenTwice) {
  CheckRefused("tensor 'x' is an input twice", [](Plan* plan) { plan->inputs = {0, 0}; });
  CheckRefused("tensor 'weights' is an input twice or constant",
               [](Plan* plan) { plan->inputs = {2}; });
  for (const TensorId id : {0u, 2u}) {
    CheckRefused("region 'first': output tensor '",
                 [id](Plan* plan) { plan->regions[0].outputs = {id}; });
  }
  CheckRefused("region 'first': output tensor 'mid' has a value already",
               [](Plan* plan) { plan->regions[0].outputs = {1, 1}; });
}

TEST(RefusesStepsThatReachOutOfTheirRegion) {
  CheckRefused("region 'second': multiply uses tensor 'x', which is not its own",
               [](Plan* plan) { plan->regions[1].steps[0].arguments = {0, 2, 3}; });
  CheckRefused("region 'second': no step computes output tensor 'y'",
               [](Plan* plan) { plan->regions[1].steps.pop_back(); });
  // An intermediate of one region is not there for the next.
  CheckRefused("region 'third': any uses tensor 'scratch', which is not its own", [](Plan* plan) {
    plan->tensors.push_back(Vector("z", 1));
    plan->regions.push_back({"third", "tvm", 1, -1, {4}, {5}, {{"any", {3, 5}}}});
  });
}

TEST(RefusesStepsBesidesAModel) {
  CheckRefused("region 'second': it has both a model and steps",
               [](Plan* plan) { plan->regions[1].blob = 0; });
}

TEST(RefusesNumbersOfThreadsThatMakeNoSense) {
  for (const uint32_t threads : {0u, 1025u, UINT32_MAX}) {
    CheckRefused("region 'first': a region runs on 1 to 1024 threads",
                 [threads](Plan* plan) { plan->regions[0].threads = threads; });
  }
}

TEST(RefusesLanesThatMakeNoSense) {
  CheckRefused("lane 'cpu': there is no CPU 1024",
               [](Plan* plan) { plan->lanes[0].cpus = {1024}; });
  CheckRefused("lane 'cpu': it spins for more than a second",
               [](Plan* plan) { plan->lanes[0].spin_us = 1000001; });
  CheckRefused("it has too many lanes", [](Plan* plan) { plan->lanes.resize(1025); });
  CheckRefused("region 'first': it is on no lane", [](Plan* plan) { plan->regions[0].lanes = {}; });
  CheckRefused("region 'second': it is on a lane that does not exist",
               [](Plan* plan) { plan->regions[1].lanes = {0, 1}; });
  CheckRefused("region 'first': it is on a lane twice",
               [](Plan* plan) { plan->regions[0].lanes = {0, 0}; });
}

}  // namespace
}  // namespace tdse
