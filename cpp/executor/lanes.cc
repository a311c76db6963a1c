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

}  // namespace

// A queue of tasks, and what its thread does.
class Lanes::Lane {
 public:
  explicit Lane(const PlanLane& plan) : plan_(plan) {}

  // The lane's thread, once it runs.
  std::thread thread;

  // Returns false if the lane is gone.
  bool Push(const Task& task) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!gone_.empty()) return false;
      tasks_.push_back(task);
      std::push_heap(tasks_.begin(), tasks_.end(), std::greater<Task>());
      has_work_.store(true, std::memory_order_relaxed);
    }
    wake_.notify_one();
    return true;
  }

  // The next task, once there is one; the thread must call End for it. False: there is none, and
  // there will be none.
  bool Next(Task* task) {
    const auto has_work = [this] { return has_work_.load(std::memory_order_relaxed); };
    SpinUntil(has_work, std::chrono::microseconds(plan_.spin_us));
    std::unique_lock<std::mutex> lock(mutex_);
    wake_.wait(lock, has_work);
    if (tasks_.empty()) return false;
    std::pop_heap(tasks_.begin(), tasks_.end(), std::greater<Task>());
    *task = tasks_.back();
    tasks_.pop_back();
    has_work_.store(!tasks_.empty() || stops_, std::memory_order_relaxed);
    running_ = *task;
    looks_ = 0;
    if (plan_.timeout_ms > 0) next_look_ = Clock::now() + LookEvery();
    return true;
  }

  // Whether the thread may go on: whether the lane was not retired during the task.
  bool End() {
    const std::lock_guard<std::mutex> lock(mutex_);
    running_.frame = nullptr;
    return gone_.empty();
  }

  void Stop() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stops_ = true;
      has_work_.store(true, std::memory_order_relaxed);
    }
    wake_.notify_one();
  }

  // To be the last that the thread does here.
  void SetEnded() {
    const std::lock_guard<std::mutex> lock(mutex_);
    has_ended_ = true;
    ended_.notify_all();
  }

  // Waits for the thread to end, which it was told to, or for its retirement if it hangs.
  void Join(const Plan& plan) {
    const auto is_over = [this] { return has_ended_ || !gone_.empty(); };
    bool is_waiting = true;
    while (is_waiting) {
      const Clock::time_point look_again = RetireIfHung(plan);
      std::unique_lock<std::mutex> lock(mutex_);
      is_waiting = !WaitUntil(&ended_, &lock, look_again, is_over);
    }
    if (thread.joinable()) thread.join();
  }

  // Retires the lane if its region has hung: its thread is left alone, and its tasks fail. Returns
  // when to look again.
  Clock::time_point RetireIfHung(const Plan& plan) {
    if (plan_.timeout_ms == 0) return Clock::time_point::max();
    std::vector<Task> lost;
    Task hung;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      const Clock::time_point now = Clock::now();
      if (!gone_.empty()) return Clock::time_point::max();
      if (running_.frame == nullptr) return now + LookEvery();
      if (now < next_look_) return next_look_;
      next_look_ = now + LookEvery();
      if (++looks_ < kLooks) return next_look_;
      hung = running_;
      gone_ = "lane " + plan_.name + " is gone: region " + plan.regions[hung.region].name +
              " did not end within " + std::to_string(plan_.timeout_ms) + " ms";
      is_gone_ = true;
      lost.swap(tasks_);
      thread.detach();
    }
    hung.frame->Abandon(hung.item, "region " + plan.regions[hung.region].name +
                                       ": it did not end within " +
                                       std::to_string(plan_.timeout_ms) + " ms; lane " +
                                       plan_.name + " is not used any more");
    for (const Task& task : lost) task.frame->Abandon(task.item, gone_);
    return Clock::time_point::max();
  }

  bool is_gone() const { return is_gone_.load(std::memory_order_acquire); }
  // Once it is gone.
  const std::string& why_gone() const { return gone_; }

 private:
  // A lane hangs if it is in the same region at each of so many looks. One look at the end would
  // take a process that was stopped, or swapped out, for one that hangs: it finds a great deal of
  // time gone by in which no thread of it could do anything.
  static constexpr int kLooks = 8;

  Clock::duration LookEvery() const {
    return Clock::duration(std::chrono::milliseconds(plan_.timeout_ms)) / kLooks;
  }

  const PlanLane& plan_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable ended_;
  // Whether there are tasks, or the thread is to end; written with the mutex held.
  std::atomic<bool> has_work_{false};
  std::vector<Task> tasks_;  // a heap
  bool stops_ = false;
  bool has_ended_ = false;
  Task running_;   // without a frame: none
  int looks_ = 0;  // during which it was running
  Clock::time_point next_look_;
  std::string gone_;  // why; empty while it is not
  std::atomic<bool> is_gone_{false};
};

// What the threads own together with Lanes.
struct Lanes::Shared {
  explicit Shared(std::shared_ptr<LoadedPlan> plan)
      : loaded(std::move(plan)), order(loaded->plan()) {
    for (const PlanLane& lane : loaded->plan().lanes) {
      lanes.push_back(std::make_unique<Lane>(lane));
      callers_spin = std::max(callers_spin, std::chrono::microseconds(lane.spin_us));
    }
    // A caller that spins where the lanes need all CPUs makes every hand-over between them slow.
    if (UsableCpus() <= lanes.size()) callers_spin = callers_spin.zero();
  }

  void Work(Lane* lane) {
    Task task;
    while (lane->Next(&task)) {
      loaded->RunRegion(task.frame, task.region, task.ready);
      if (!lane->End()) return;
      Complete(task);
    }
    lane->SetEnded();
  }

  void Complete(const Task& task) {
    for (const uint32_t next : order.successors(task.region)) {
      std::atomic<uint32_t>& waits_for = task.frame->regions[next].waits_for;
      if (waits_for.fetch_sub(1, std::memory_order_acq_rel) == 1) Push(task, next);
    }
    // Last: the frame may have another item as soon as this one is done.
    if (task.frame->regions_left.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      task.frame->Finish();
    }
  }

  // A region of the same item.
  void Push(const Task& task, uint32_t region) {
    const LaneId id = loaded->plan().regions[region].lanes[task.frame->regions[region].copy];
    if (lanes[id]->Push({task.item, region, task.frame, Clock::now()})) return;
    // Other regions of the item may still be running.
    task.frame->Abandon(task.item, lanes[id]->why_gone());
  }

  // The lane that this item takes for the region: its turn, or the next that is there.
  // Returns false if none is.
  bool ChooseCopy(Frame* frame, uint32_t region) {
    const std::vector<LaneId>& choices = loaded->plan().regions[region].lanes;
    for (size_t i = 0; i < choices.size(); ++i) {
      const size_t copy = (frame->item() + i) % choices.size();
      if (lanes[choices[copy]]->is_gone()) continue;
      frame->regions[region].copy = static_cast<uint32_t>(copy);
      return true;
    }
    return false;
  }

  Clock::time_point RetireHung() {
    Clock::time_point look_again = Clock::time_point::max();
    for (const auto& lane : lanes) {
      look_again = std::min(look_again, lane->RetireIfHung(loaded->plan()));
    }
    return look_again;
  }

  const std::shared_ptr<LoadedPlan> loaded;
  const RegionOrder order;
  std::vector<std::unique_ptr<Lane>> lanes;
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
  for (const auto& lane : shared_->lanes) lane->Stop();
  for (const auto& lane : shared_->lanes) {
    // Where starting failed, not all have one.
    if (lane->thread.joinable()) lane->Join(shared_->loaded->plan());
  }
}

void Lanes::Start(Frame* frame) {
  const Plan& plan = shared_->loaded->plan();
  for (uint32_t r = 0; r < plan.regions.size(); ++r) {
    if (!shared_->ChooseCopy(frame, r)) {
      frame->Fail(shared_->lanes[plan.regions[r].lanes[0]]->why_gone());
      frame->Finish();
      return;
    }
    frame->regions[r].waits_for.store(shared_->order.waits_for()[r], std::memory_order_relaxed);
  }
  frame->regions_left.store(plan.regions.size(), std::memory_order_relaxed);
  if (plan.regions.empty()) frame->Finish();
  const uint64_t item = frame->item();
  for (uint32_t r = 0; r < plan.regions.size(); ++r) {
    if (shared_->order.waits_for()[r] == 0) shared_->Push({item, 0, frame, {}}, r);
  }
}

void Lanes::Wait(Frame* frame) {
  if (SpinUntil([frame] { return frame->IsDone(); }, shared_->callers_spin)) return;
  while (!frame->SleepUntilDone(shared_->RetireHung())) {
  }
}

}  // namespace tdse
