#include "cost.h"

#include <algorithm>
#include <cmath>

namespace tdse::dataflow {
namespace {

// Bursts and the elements of each: a burst grows from the innermost dimension outwards, as long as
// dimensions are whole.
void Bursts(const Layer& layer, int operand, const TilePart& part, double* count,
            double* elements) {
  *count = *elements = 1;
  bool is_whole = true;
  for (const int dimension : layer.dimensions[operand]) {
    if (dimension == kNoDimension) break;
    double extent, full;
    if (dimension < kLoops) {
      extent = part.tile[dimension];
      full = extent * part.dram[dimension];
    } else {
      const int axis = dimension - kIx;
      extent = Span(part.tile[kOx + axis], part.tile[kFx + axis], layer.stride[axis],
                    layer.dilation[axis]);
      full = std::max<double>(layer.input_size[axis],
                              Span(double(part.tile[kOx + axis]) * part.dram[kOx + axis],
                                   double(part.tile[kFx + axis]) * part.dram[kFx + axis],
                                   layer.stride[axis], layer.dilation[axis]));
    }
    (is_whole ? *elements : *count) *= extent;
    is_whole = is_whole && extent == full;
  }
}

}  // namespace

ArrayPart MakeArray(const Layer& layer, const Architecture& arch, const int32_t* rf,
                    const int32_t* spatial) {
  ArrayPart part;
  double groups = 1, in_group = 1;
  for (int loop = 0; loop < kLoops; ++loop) {
    part.rf[loop] = rf[loop];
    part.spatial[loop] = spatial[loop];
    part.both[loop] = rf[loop] * spatial[loop];
    (kIrrelevant[kOutput][loop] ? in_group : groups) *= spatial[loop];
  }
  part.passes_product = Product(part.both);
  part.compute_cycles = Product(rf);
  for (int operand = 0; operand < kOperands; ++operand) {
    part.irrelevant[operand] = IrrelevantProduct(operand, part.both);
    part.distribute_cycles[operand] = Elements(layer, operand, part.both);
    const double receivers = operand == kOutput ? groups : groups * in_group;
    part.noc_pj[operand] = Elements(layer, operand, rf) * receivers * arch.noc_pj;
    part.spm_pj[operand] = part.distribute_cycles[operand] * arch.spm_pj;
  }
  part.reduce_cycles = Elements(layer, kOutput, rf) * (in_group - 1) * groups;
  part.reduce_pj = part.reduce_cycles * (3 * arch.rf_pj + arch.noc_pj + arch.mac_pj);
  return part;
}

TilePart MakeTile(const Layer& layer, const Architecture& arch, const int32_t* dram,
                  const int32_t* tile) {
  TilePart part;
  std::copy(dram, dram + kLoops, part.dram);
  std::copy(tile, tile + kLoops, part.tile);
  part.product = Product(tile);
  part.passes = Product(dram);
  for (int operand = 0; operand < kOperands; ++operand) {
    part.tile_irrelevant[operand] = IrrelevantProduct(operand, tile);
    part.dram_irrelevant[operand] = IrrelevantProduct(operand, dram);
    double count, elements;
    Bursts(layer, operand, part, &count, &elements);
    const double dma_clocks =
        arch.dma_init_cycles + arch.dma_cycles_per_byte * (elements * arch.element_bytes);
    part.dma_cycles[operand] = count * std::ceil(dma_clocks * (arch.mhz / arch.dma_mhz));
    part.dma_pj[operand] = count * elements * arch.dram_pj;
  }
  const double macs = part.product * part.passes;
  part.mac_pj = macs * arch.mac_pj;
  part.rf_pj = 3 * macs * arch.rf_pj + macs * arch.rf_pj;
  return part;
}

Cost Combine(const Architecture& arch, const ArrayPart& array, const TilePart& tile, Reuse spm,
             Reuse dram, double* figures) {
  const double rf_passes = tile.product / array.passes_product, spm_passes = tile.passes;
  // What is used again during all passes over a tile and beyond stays in the register files.
  const int kept = dram.factor > 1 && spm.of(dram.operand) == rf_passes ? dram.operand : -1;

  double distribute = 0;
  for (int operand = 0; operand < kOperands; ++operand) {
    if (operand != kept && spm.of(operand) == 1) {
      distribute = std::max(distribute, array.distribute_cycles[operand]);
    }
  }
  const double stall = array.compute_cycles + array.reduce_cycles;
  const bool stalls_always = kept != kOutput && spm.of(kOutput) == 1;
  double running = stalls_always ? distribute : std::max(array.compute_cycles, distribute);
  double pass = running * rf_passes + (stalls_always ? stall * rf_passes : 0);
  if (spm.factor > 1 && spm.operand != kept) {
    const double times = rf_passes / spm.factor;
    pass += std::max(0.0, array.distribute_cycles[spm.operand] - running) * times;
    if (spm.operand == kOutput) pass += stall * times;
  }

  double dma = 0;
  for (int operand = 0; operand < kOperands; ++operand) {
    if (dram.of(operand) == 1) {
      dma += operand == kOutput ? 2 * tile.dma_cycles[operand] : tile.dma_cycles[operand];
    }
  }
  const double steady = std::max(dma, pass);
  double cycles = steady * spm_passes;
  if (dram.factor > 1) {
    const bool is_output = dram.operand == kOutput;
    const double more = dma + tile.dma_cycles[dram.operand];
    double pes_1 = pass, pes_2 = pass;
    if (kept == dram.operand) {
      pes_2 += std::max(0.0, array.distribute_cycles[kept] - distribute);
      if (is_output) pes_1 += stall;
    }
    const double over_1 = std::max(0.0, std::max(more, pes_1) - steady);
    const double over_2 = std::max(0.0, std::max(is_output ? more : dma, pes_2) - steady);
    cycles += (over_1 + over_2) * (spm_passes / dram.factor);
  }

  double on_chip = 0, off_chip = 0;
  for (int operand = 0; operand < kOperands; ++operand) {
    const double times = rf_passes / spm.of(operand);
    const double transfers = spm_passes / dram.of(operand);
    double once = array.noc_pj[operand] + array.spm_pj[operand];
    double dram_pj = tile.dma_pj[operand] * transfers;
    if (operand == kOutput) {
      dram_pj += tile.dma_pj[operand] * (transfers - spm_passes / tile.dram_irrelevant[kOutput]);
    }
    if (operand == kept) {
      if (operand == kOutput) once += array.reduce_pj;
      dram_pj += once * transfers;
    } else {
      if (operand == kOutput) once = 2 * once + array.reduce_pj;
      on_chip += once * times;
    }
    off_chip += dram_pj;
  }
  const double energy = std::nearbyint(tile.mac_pj + tile.rf_pj + on_chip * spm_passes + off_chip);

  if (figures) {
    // On chip in one pass over a tile, then what is moved once for several tiles.
    double mac = 0, rf = 0, noc = 0, on_spm = 0, in_dram = 0;
    double kept_mac = 0, kept_rf = 0, kept_noc = 0, kept_spm = 0;
    for (int operand = 0; operand < kOperands; ++operand) {
      const bool is_output = operand == kOutput;
      const double times = rf_passes / spm.of(operand);
      const double transfers = spm_passes / dram.of(operand);
      const double reduced = is_output ? array.reduce_cycles : 0;
      in_dram += tile.dma_pj[operand] * transfers;
      if (is_output) {
        in_dram += tile.dma_pj[operand] * (transfers - spm_passes / tile.dram_irrelevant[operand]);
      }
      if (operand == kept) {
        kept_mac = reduced * arch.mac_pj * transfers;
        kept_rf = reduced * 3 * arch.rf_pj * transfers;
        kept_noc = (array.noc_pj[operand] + reduced * arch.noc_pj) * transfers;
        kept_spm = array.spm_pj[operand] * transfers;
      } else {
        const double ways = is_output ? 2 : 1;
        mac += reduced * arch.mac_pj * times;
        rf += reduced * 3 * arch.rf_pj * times;
        noc += (ways * array.noc_pj[operand] + reduced * arch.noc_pj) * times;
        on_spm += ways * array.spm_pj[operand] * times;
      }
    }
    figures[kCycles] = cycles;
    figures[kEnergy] = energy;
    figures[kComputeCycles] = array.compute_cycles * rf_passes * spm_passes;
    figures[kPassCycles] = pass;
    figures[kDmaCycles] = dma * spm_passes;
    if (dram.factor > 1) {
      figures[kDmaCycles] += (dram.operand == kOutput ? 2 : 1) * tile.dma_cycles[dram.operand] *
                             (spm_passes / dram.factor);
    }
    figures[kMacEnergy] = tile.mac_pj + mac * spm_passes + kept_mac;
    figures[kRfEnergy] = tile.rf_pj + rf * spm_passes + kept_rf;
    figures[kNocEnergy] = noc * spm_passes + kept_noc;
    figures[kSpmEnergy] = on_spm * spm_passes + kept_spm;
    figures[kDramEnergy] = in_dram;
  }
  return {cycles, energy};
}

Reuse ReuseOf(const int32_t* factors, const int8_t* order) {
  Reuse reuse;
  for (int i = kLoops - 1; i >= 0; --i) {
    const int loop = order[i];
    if (factors[loop] == 1) continue;
    if (reuse.operand < 0) {
      for (int operand = 0; operand < kOperands; ++operand) {
        if (kIrrelevant[operand][loop]) reuse.operand = operand;
      }
      if (reuse.operand < 0) break;
    } else if (!kIrrelevant[reuse.operand][loop]) {
      break;
    }
    reuse.factor *= factors[loop];
  }
  return reuse;
}

Choices BestReuses(const double* irrelevant) {
  Choices choices;
  for (int operand = 0; operand < kOperands; ++operand) {
    if (irrelevant[operand] > 1) choices.reuse[choices.count++] = {operand, irrelevant[operand]};
  }
  if (!choices.count) choices.reuse[choices.count++] = {};
  return choices;
}

}  // namespace tdse::dataflow
