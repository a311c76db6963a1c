// A layer and an accelerator as python/tdse/dataflow/native.py passes them.
//
// python/tdse/dataflow/reference.py is the specification of what they cost.
#ifndef TDSE_DATAFLOW_LAYER_H_
#define TDSE_DATAFLOW_LAYER_H_

#include <cstdint>

namespace tdse::dataflow {

// Groups, batch, output channels and input channels of a group, output rows and columns, filter
// rows and columns.
enum Loop { kG, kN, kM, kC, kOx, kOy, kFx, kFy, kLoops };
// Dimensions of a tensor that are no loops: rows and columns of the input.
enum { kIx = kLoops, kIy, kNoDimension = -1 };

enum Operand { kOutput, kInput, kWeights, kOperands };

constexpr int kMostDimensions = 6;

// Which loops an operand does not depend on, so that it can be used again while they run.
constexpr bool kIrrelevant[kOperands][kLoops] = {
    {false, false, false, true, false, false, true, true},
    {false, false, true, false, false, false, false, false},
    {false, true, false, false, true, true, false, false},
};

struct Layer {
  int32_t stride[2];      // rows, columns
  int32_t dilation[2];    // of the filter, rows, columns
  int32_t input_size[2];  // rows, columns, with padding
  // Of each operand in DRAM: loops, or kIx and kIy, innermost first.
  int32_t dimensions[kOperands][kMostDimensions];
};

struct Architecture {
  double pes;
  double rf_elements;  // of one PE
  double spm_banks;    // of one half of the double buffer
  double bank_bytes;
  double element_bytes;
  double dma_init_cycles;  // of the DMA's clock
  double dma_cycles_per_byte;
  double dma_mhz;
  double mhz;
  double rf_pj, noc_pj, spm_pj, dram_pj, mac_pj;  // of one element or operation
};

// What part of the input a tile of so many output and filter rows (or columns) spans.
inline double Span(double outputs, double taps, double stride, double dilation) {
  return (outputs - 1) * stride + (taps - 1) * dilation + 1;
}

// Distinct elements of an operand in a tile of so many iterations of each loop.
template <typename Number>
double Elements(const Layer& layer, int operand, const Number* tile) {
  const double g = tile[kG];
  switch (operand) {
    case kOutput:
      return g * tile[kN] * tile[kM] * tile[kOx] * tile[kOy];
    case kInput:
      return g * tile[kN] * tile[kC] *
             Span(tile[kOx], tile[kFx], layer.stride[0], layer.dilation[0]) *
             Span(tile[kOy], tile[kFy], layer.stride[1], layer.dilation[1]);
    default:
      return g * tile[kM] * tile[kC] * tile[kFx] * tile[kFy];
  }
}

template <typename Number>
double Product(const Number* factors) {
  double product = 1;
  for (int loop = 0; loop < kLoops; ++loop) product *= factors[loop];
  return product;
}

// The product of the loops on which an operand does not depend.
template <typename Number>
double IrrelevantProduct(int operand, const Number* factors) {
  double product = 1;
  for (int loop = 0; loop < kLoops; ++loop) {
    if (kIrrelevant[operand][loop]) product *= factors[loop];
  }
  return product;
}

}  // namespace tdse::dataflow

#endif  // TDSE_DATAFLOW_LAYER_H_
