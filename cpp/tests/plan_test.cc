// The parser: what it reads, and that it refuses everything else without reading past the end.
#include "plan.h"

#include <cstring>
#include <string>
#include <vector>

#include "executor.h"
#include "plans.h"
#include "testing.h"

namespace tdse {
namespace {

using Bytes = std::vector<uint8_t>;

Plan Parse(const Bytes& bytes) { return ParsePlan(bytes.data(), bytes.size()); }

// Parses a copy of exactly these bytes, so that AddressSanitizer sees a read past the end. Returns
// whether they are a plan; any error but a std::runtime_error fails the test.
bool IsPlan(const Bytes& bytes) {
  const Bytes exact(bytes);
  try {
    Parse(exact);
    return true;
  } catch (const std::runtime_error&) {
    return false;
  }
}

TEST(ParsesWhatWasWritten) {
  const Bytes bytes = PlanBytes(ExamplePlan());
  const Plan plan = Parse(bytes);
  // Equal in every field that is written.
  CHECK(PlanBytes(plan) == bytes);
  CHECK_EQUAL(plan.tensors.size(), 5u);
  CHECK_EQUAL(plan.tensors[1].size_bytes, 24u);
  CHECK_EQUAL(plan.tensors[4].size_bytes, 1u);
  CHECK_EQUAL(TypeName(plan.tensors[4].dtype), "bool");
  CHECK_EQUAL(plan.regions[1].steps[0].symbol, "multiply");
  CHECK_EQUAL(std::memcmp(plan.blobs[0].data, "a model", 7), 0);
  for (const Blob& blob : plan.blobs) CHECK_EQUAL((blob.data - bytes.data()) % kBlobAlignment, 0u);
}

TEST(ParsesRandomPlans) {
  std::mt19937 random(1);
  for (int i = 0; i < 500; ++i) {
    const Bytes bytes = PlanBytes(RandomPlan(&random, 4));
    CHECK(PlanBytes(Parse(bytes)) == bytes);
  }
}

TEST(RefusesAPlanCutOffAnywhere) {
  const Bytes bytes = PlanBytes(ExamplePlan());
  for (size_t length = 0; length < bytes.size(); ++length) {
    const Bytes cut(bytes.begin(), bytes.begin() + static_cast<Bytes::difference_type>(length));
    CHECK_THROWS("the executor plan is malformed: ", Parse(cut));
  }
}

TEST(RefusesBytesAfterTheEnd) {
  Bytes bytes = PlanBytes(ExamplePlan());
  bytes.push_back(0);
  CHECK_THROWS("bytes follow its end", Parse(bytes));
}

TEST(RefusesRandomBytes) {
  std::mt19937 random(2);
  for (int i = 0; i < 20000; ++i) {
    Bytes bytes(random() % 300);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    CHECK(!IsPlan(bytes));
    // Now with the right beginning: it may even be a plan, but must do no harm.
    const Bytes start = PlanBytes({});
    if (bytes.size() >= start.size()) std::memcpy(bytes.data(), start.data(), 12);
    IsPlan(bytes);
  }
}

TEST(LargeNumbersAnywhereAreHarmless) {
  const Bytes bytes = PlanBytes(ExamplePlan());
  int refused = 0;
  for (const uint32_t number : {0x10000u, 0x7FFFFFFFu, 0x80000000u, 0xFFFFFFC0u, 0xFFFFFFFFu}) {
    for (size_t position = 8; position + sizeof(number) <= bytes.size(); ++position) {
      Bytes changed = bytes;
      std::memcpy(changed.data() + position, &number, sizeof(number));
      if (!IsPlan(changed)) ++refused;
    }
  }
  CHECK(refused > 500);
}

// The count is the last number of a plan that otherwise has room for nothing: not a byte may be
// reserved for it.
TEST(RefusesHugeCounts) {
  Bytes start = PlanBytes({});
  // Blobs, tensors, inputs, outputs, lanes and regions: the counts of an empty plan, after its
  // version; the sixth number is that of the items in flight.
  for (const size_t field : {0, 1, 2, 3, 4, 6}) {
    Bytes bytes = start;
    const uint32_t huge = 0xFFFFFFFF;
    std::memcpy(bytes.data() + 12 + 4 * field, &huge, sizeof(huge));
    CHECK_THROWS("it ends too early", Parse(bytes));
  }
}

TEST(RefusesHugeBlobs) {
  Bytes bytes = PlanBytes(ExamplePlan());
  for (const uint64_t size : {UINT64_MAX, UINT64_MAX - 63, uint64_t{1} << 63}) {
    std::memcpy(bytes.data() + 16, &size, sizeof(size));
    CHECK_THROWS("it ends too early", Parse(bytes));
  }
}

TEST(RefusesHugeTensors) {
  const std::vector<std::vector<int64_t>> shapes = {
      {INT64_MAX}, {int64_t{1} << 62, int64_t{1} << 62}, {0, int64_t{1} << 62}, {1, -1}};
  for (const std::vector<int64_t>& shape : shapes) {
    Plan plan = ExamplePlan();
    plan.tensors[0].shape = shape;
    CHECK_THROWS("tensor 'x' ", Parse(PlanBytes(plan)));
  }
  Plan plan = ExamplePlan();
  plan.tensors[0].shape.assign(65, 1);
  CHECK_THROWS("tensor 'x' has too many dimensions", Parse(PlanBytes(plan)));
}

TEST(RefusesOtherFormats) {
  Bytes bytes = PlanBytes(ExamplePlan());
  bytes[8] = 1;
  CHECK_THROWS("has version 1, this library reads version 4", Parse(bytes));
  bytes[0] = 'X';
  CHECK_THROWS("it does not start with TDSEPLAN", Parse(bytes));
}

TEST(RefusesElementTypesWithoutAName) {
  for (const DLDataType dtype : {DLDataType{kDLInt, 7, 1}, DLDataType{kDLFloat, 8, 1},
                                 DLDataType{kDLInt, 8, 2}, DLDataType{99, 8, 1}}) {
    Plan plan = ExamplePlan();
    plan.tensors[0].dtype = dtype;
    CHECK_THROWS("tensor 'x' has an element type that it cannot have", Parse(PlanBytes(plan)));
  }
}

TEST(RefusesNamesThatAreNotText) {
  for (const char* name : {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\xe2\x98"}) {
    Plan plan = ExamplePlan();
    plan.regions[0].name = name;
    CHECK_THROWS("a name is not text", Parse(PlanBytes(plan)));
  }
  Plan plan = ExamplePlan();
  plan.regions[0].name = "\xe2\x98\x83 \xf0\x9f\x98\x80";
  CHECK(IsPlan(PlanBytes(plan)));
}

TEST(TheKindSaysOnWhichDeviceStepsRun) {
  const auto is_on = [](const char* kind, DLDeviceType type, int number) {
    PlanRegion region;
    region.kind = kind;
    return region.device().device_type == type && region.device().device_id == number;
  };
  CHECK(is_on("opencl", kDLOpenCL, 0) && is_on("opencl:0", kDLOpenCL, 0));
  CHECK(is_on("opencl:12", kDLOpenCL, 12) && is_on("cuda", kDLCUDA, 0));
  for (const char* kind : {"tvm", "litert", "", ":", "tvm:1", "opencl:", "opencl:x", "opencl:-1",
                           "opencl:1000", "opencl:1:2", "openclx"}) {
    CHECK(is_on(kind, kDLCPU, 0));
  }
}

TEST(DescribesAPlanAsJson) {
  Plan plan = Chain(1, 3);
  plan.regions[0].name = "a \"quoted\"\nname";
  CHECK_EQUAL(DescribePlan(plan),
              R"({"inputs":[{"name":"t0","dtype":"int8","shape":[3]}],)"
              R"("outputs":[{"name":"t1","dtype":"int8","shape":[3]}],)"
              R"("lanes":[{"name":"cpu","cpus":[],"spin_us":0,"timeout_ms":0}],)"
              R"("regions":[{"name":"a \"quoted\"\u000aname","kind":"fake","threads":1,)"
              R"("lanes":[0],"inputs":[0],"outputs":[1]}],"max_items":1,)"
              R"("arena_bytes":0})");
}

}  // namespace
}  // namespace tdse
