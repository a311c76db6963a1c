#include "lanes.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "pinning.h"
#include "region_order.h"
#include "waiting.h"

namespace tdse {
namespace {

// A region of an item. Smaller is to run first.
struct Task {
  uint64_t item = 0;
  uint32_t region = 0;
  Frame* frame = nullptr;
  Clock::time_point ready;  // when all that it waits for had ended

  bool operator>(const Task& other) const {
    return item != other.item ? item > other.item : region > other.region;
  }
};

// Tasks as a heap, of which the smallest comes first.
class Queue {
 public:
  bool empty() const { return tasks_.empty(); }
  const Task& first() const { return tasks_.front(); }

  void Push(const Task& task) {
    tasks_.push_back(task);
    std::push_heap(tasks_.begin(), tasks_.end(), std::greater<Task>());
  }

  Task Pop() {
    std::pop_heap(tasks_.begin(), tasks_.end(), std::greater<Task>());
    const Task task = tasks_.back();
    tasks_.pop_back();
    return task;
  }

  // Moves all of them to the end of `tasks`.
  void MoveTo(std::vector<Task>* tasks) {
    tasks->insert(tasks->end(), tasks_.begin(), tasks_.end());
    tasks_.clear();
  }

 private:
  std::vector<Task> tasks_;
};

// Regions that the same several lanes have copies of. Whichever lane is free first takes an item,
// so that a lane that is slow for a while does not hold up the others; the item's other regions of
// these then stay on that lane.
struct Copies {
  std::vector<LaneId> lanes;
  std::vector<uint32_t> regions;
  Queue waiting;  // one task of each item that no lane has taken
};

// Of a region that no lane has taken yet.
constexpr uint32_t kNoCopy = UINT32_MAX;

}  // namespace

// What one thread is to do and does. All but the atomics is guarded by the mutex of Shared.
struct Lanes::Lane {
  explicit Lane(const PlanLane& given) : plan(given) {}

  // Whether it may have something to do, or is to end. It need not have: another lane that has
  // copies of the same regions may have been faster.
  bool HasWork() const { return has_work.load(std::memory_order_relaxed); }
  void SetHasWork(bool value) { has_work.store(value, std::memory_order_relaxed); }

  // A lane hangs if it is in the same region at each of so many looks. One look at the end would
  // take a process that was stopped, or swapped out, for one that hangs: it finds a great deal of
  // time gone by in which no thread of it could do anything.
  static constexpr int kLooks = 8;

  Clock::duration LookEvery() const {
    return Clock::duration(std::chrono::milliseconds(plan.timeout_ms)) / kLooks;
  }

  const PlanLane& plan;
  std::thread thread;  // once it runs
  std::condition_variable wake;
  std::condition_variable ended;
  std::atomic<bool> has_work{false};
  bool is_idle = false;  // it has found nothing to do, and nobody has given it anything since
  bool stops = false;
  bool has_ended = false;
  Queue tasks;
  std::vector<std::pair<Copies*, uint32_t>> copies;  // with which of the copies is this lane's
  Task running;                                      // without a frame: none
  int looks = 0;                                     // during which it was running
  Clock::time_point next_look;
  std::string gone;  // why; empty while it is not
};

// What the threads own together with Lanes.
struct Lanes::Shared {
  explicit Shared(std::shared_ptr<LoadedPlan> plan)
      : loaded(std::move(plan)), order(loaded->plan()), copies_of(loaded->plan().regions.size()) {
    for (const PlanLane& lane : loaded->plan().lanes) {
      lanes.push_back(std::make_unique<Lane>(lane));
      callers_spin = std::max(callers_spin, std::chrono::microseconds(lane.spin_us));
    }
    // A caller that spins where the lanes need all CPUs makes every hand-over between them slow.
    if (UsableCpus() <= lanes.size()) callers_spin = callers_spin.zero();
    for (uint32_t r = 0; r < copies_of.size(); ++r) {
      if (loaded->plan().regions[r].lanes.size() > 1) AddCopies(r);
    }
  }

  void AddCopies(uint32_t region) {
    const std::vector<LaneId>& on = loaded->plan().regions[region].lanes;
    const auto is_on = [&](const auto& one) { return one->lanes == on; };
    auto found = std::find_if(copies.begin(), copies.end(), is_on);
    if (found == copies.end()) {
      copies.push_back(std::make_unique<Copies>());
      found = copies.end() - 1;
      (*found)->lanes = on;
      for (uint32_t i = 0; i < on.size(); ++i) {
        lanes[on[i]]->copies.emplace_back(found->get(), i);
      }
    }
    (*found)->regions.push_back(region);
    copies_of[region] = found->get();
  }

  void Work(Lane* lane) {
    Task task;
    while (Next(lane, &task)) {
      loaded->RunRegion(task.frame, task.region, task.ready);
      if (!End(lane)) return;
      Complete(task);
    }
    // The last that the thread does here.
    const std::lock_guard<std::mutex> lock(mutex);
    lane->has_ended = true;
    lane->ended.notify_all();
  }

  // The next task, once there is one; the thread must call End for it. False: there is none, and
  // there will be none.
  bool Next(Lane* lane, Task* task) {
    const auto has_work = [lane] { return lane->HasWork(); };
    while (true) {
      {
        const std::lock_guard<std::mutex> lock(mutex);
        if (Take(lane, task)) return true;
        if (lane->stops) return false;
        lane->SetHasWork(false);
        lane->is_idle = true;
      }
      if (SpinUntil(has_work, std::chrono::microseconds(lane->plan.spin_us))) continue;
      std::unique_lock<std::mutex> lock(mutex);
      lane->wake.wait(lock, has_work);
    }
  }

  // The oldest task that the lane can do; with the mutex held. False: there is none.
  bool Take(Lane* lane, Task* task) {
    Queue* from = lane->tasks.empty() ? nullptr : &lane->tasks;
    const Copies* taken = nullptr;
    uint32_t copy = 0;
    for (const auto& [some, own] : lane->copies) {
      if (some->waiting.empty()) continue;
      if (from != nullptr && !(from->first() > some->waiting.first())) continue;
      from = &some->waiting;
      taken = some;
      copy = own;
    }
    if (from == nullptr) return false;
    *task = from->Pop();
    if (taken != nullptr) {
      for (const uint32_t region : taken->regions) task->frame->regions[region].copy = copy;
    }
    lane->is_idle = false;
    lane->running = *task;
    lane->looks = 0;
    if (lane->plan.timeout_ms > 0) lane->next_look = Clock::now() + lane->LookEvery();
    return true;
  }

  // Whether the thread may go on: whether the lane was not retired during the task.
  bool End(Lane* lane) {
    const std::lock_guard<std::mutex> lock(mutex);
    lane->running.frame = nullptr;
    return lane->gone.empty();
  }

  void Complete(const Task& task) {
    for (const uint32_t next : order.successors(task.region)) {
      std::atomic<uint32_t>& waits_for = task.frame->regions[next].waits_for;
      if (waits_for.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        Push({task.item, next, task.frame, Clock::now()});
      }
    }
    // Last: the frame may have another item as soon as this one is done.
    if (task.frame->regions_left.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      task.frame->Finish();
    }
  }

  void Push(const Task& task) {
    std::string gone;
    {
      const std::lock_guard<std::mutex> lock(mutex);
      const uint32_t copy = task.frame->regions[task.region].copy;
      if (copy == kNoCopy) {
        gone = PushToAny(task);
      } else {
        Lane* lane = lanes[loaded->plan().regions[task.region].lanes[copy]].get();
        gone = lane->gone;
        if (gone.empty()) {
          lane->tasks.Push(task);
          Wake(lane);
        }
      }
    }
    // Other regions of the item may still be running.
    if (!gone.empty()) task.frame->Abandon(task.item, gone);
  }

  // With the mutex held. Returns why no lane will ever take it; empty if one will.
  std::string PushToAny(const Task& task) {
    Copies* some = copies_of[task.region];
    if (const std::string gone = WhyGone(*some); !gone.empty()) return gone;
    some->waiting.Push(task);
    const auto is_idle = [this](LaneId id) { return lanes[id]->is_idle; };
    const auto idle = std::find_if(some->lanes.begin(), some->lanes.end(), is_idle);
    if (idle != some->lanes.end()) {
      Wake(lanes[*idle].get());
    } else {
      // Whichever ends first looks what there is.
      for (const LaneId id : some->lanes) lanes[id]->SetHasWork(true);
    }
    return {};
  }

  // With the mutex held.
  static void Wake(Lane* lane) {
    lane->is_idle = false;
    lane->SetHasWork(true);
    lane->wake.notify_one();
  }

  // With the mutex held: why the first lane is gone, if all are; else empty.
  std::string WhyGone(const Copies& some) const {
    const auto is_gone = [this](LaneId id) { return !lanes[id]->gone.empty(); };
    if (!std::all_of(some.lanes.begin(), some.lanes.end(), is_gone)) return {};
    return lanes[some.lanes[0]]->gone;
  }

  // Why an item cannot run: a region's lane, or all that have copies of it, are gone. Else empty.
  std::string WhyGone() {
    const std::lock_guard<std::mutex> lock(mutex);
    const std::vector<PlanRegion>& regions = loaded->plan().regions;
    for (uint32_t r = 0; r < regions.size(); ++r) {
      const Copies* some = copies_of[r];
      const std::string gone = some != nullptr ? WhyGone(*some) : lanes[regions[r].lanes[0]]->gone;
      if (!gone.empty()) return gone;
    }
    return {};
  }

  // Waits for a lane's thread to end, which it was told to, or for its retirement if it hangs.
  void Join(Lane* lane) {
    const auto is_over = [lane] { return lane->has_ended || !lane->gone.empty(); };
    bool is_waiting = true;
    while (is_waiting) {
      const Clock::time_point look_again = RetireIfHung(lane);
      std::unique_lock<std::mutex> lock(mutex);
      is_waiting = !WaitUntil(&lane->ended, &lock, look_again, is_over);
    }
    if (lane->thread.joinable()) lane->thread.join();
  }

  // Retires the lane if its region has hung: its thread is left alone, and what no other lane can
  // do fails. Returns when to look again.
  Clock::time_point RetireIfHung(Lane* lane) {
    if (lane->plan.timeout_ms == 0) return Clock::time_point::max();
    std::vector<Task> lost;
    Task hung;
    std::string gone, why;
    {
      const std::lock_guard<std::mutex> lock(mutex);
      const Clock::time_point now = Clock::now();
      if (!lane->gone.empty()) return Clock::time_point::max();
      if (lane->running.frame == nullptr) return now + lane->LookEvery();
      if (now < lane->next_look) return lane->next_look;
      lane->next_look = now + lane->LookEvery();
      if (++lane->looks < Lane::kLooks) return lane->next_look;
      hung = lane->running;
      const std::string region = "region " + loaded->plan().regions[hung.region].name;
      const std::string limit =
          "did not end within " + std::to_string(lane->plan.timeout_ms) + " ms";
      why = region + ": it " + limit + "; lane " + lane->plan.name + " is not used any more";
      gone = "lane " + lane->plan.name + " is gone: " + region + " " + limit;
      lane->gone = gone;
      lane->tasks.MoveTo(&lost);
      for (const auto& [some, own] : lane->copies) {
        if (!WhyGone(*some).empty()) some->waiting.MoveTo(&lost);
      }
      lane->thread.detach();
    }
    hung.frame->Abandon(hung.item, why);
    for (const Task& task : lost) task.frame->Abandon(task.item, gone);
    return Clock::time_point::max();
  }

  Clock::time_point RetireHung() {
    Clock::time_point look_again = Clock::time_point::max();
    for (const auto& lane : lanes) look_again = std::min(look_again, RetireIfHung(lane.get()));
    return look_again;
  }

  const std::shared_ptr<LoadedPlan> loaded;
  const RegionOrder order;
  // One for all lanes: what waits for whichever is free first is everybody's.
  std::mutex mutex;
  std::vector<std::unique_ptr<Lane>> lanes;
  std::vector<std::unique_ptr<Copies>> copies;
  std::vector<Copies*> copies_of;  // each region; null where only one lane has it
  std::chrono::microseconds callers_spin{0};
};

Lanes::Lanes(std::shared_ptr<LoadedPlan> loaded)
    : shared_(std::make_shared<Shared>(std::move(loaded))) {
  const std::vector<PlanLane>& plans = shared_->loaded->plan().lanes;
  try {
    for (size_t i = 0; i < plans.size(); ++i) {
      Lane* lane = shared_->lanes[i].get();
      lane->thread = std::thread([shared = shared_, lane] { shared->Work(lane); });
      PinThread(lane->thread.native_handle(), plans[i]);
    }
  } catch (const std::system_error& error) {
    Stop();
    throw std::runtime_error(std::string("a lane's thread cannot be started: ") + error.what());
  } catch (...) {
    Stop();
    throw;
  }
}

Lanes::~Lanes() { Stop(); }

void Lanes::Stop() {
  {
    const std::lock_guard<std::mutex> lock(shared_->mutex);
    for (const auto& lane : shared_->lanes) {
      lane->stops = true;
      Shared::Wake(lane.get());
    }
  }
  for (const auto& lane : shared_->lanes) {
    // Where starting failed, not all have one.
    if (lane->thread.joinable()) shared_->Join(lane.get());
  }
}

void Lanes::Start(Frame* frame) {
  const Plan& plan = shared_->loaded->plan();
  if (const std::string gone = shared_->WhyGone(); !gone.empty()) {
    frame->Fail(gone);
    frame->Finish();
    return;
  }
  for (uint32_t r = 0; r < plan.regions.size(); ++r) {
    frame->regions[r].copy = shared_->copies_of[r] != nullptr ? kNoCopy : 0;
    frame->regions[r].waits_for.store(shared_->order.waits_for()[r], std::memory_order_relaxed);
  }
  frame->regions_left.store(plan.regions.size(), std::memory_order_relaxed);
  if (plan.regions.empty()) frame->Finish();
  const uint64_t item = frame->item();
  for (uint32_t r = 0; r < plan.regions.size(); ++r) {
    if (shared_->order.waits_for()[r] == 0) shared_->Push({item, r, frame, Clock::now()});
  }
}

void Lanes::Wait(Frame* frame) {
  if (SpinUntil([frame] { return frame->IsDone(); }, shared_->callers_spin)) return;
  while (!frame->SleepUntilDone(shared_->RetireHung())) {
  }
}

}  // namespace tdse
