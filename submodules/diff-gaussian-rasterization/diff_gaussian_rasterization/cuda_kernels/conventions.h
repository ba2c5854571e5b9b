// Flags and constants of the CPU kernels (src/) and the CUDA kernels alike. docs/rasterizer.md explains the conventions.
#pragma once

enum {
  FLAG_LOG_SCALES = 1,        // scales are logarithms of scales
  FLAG_OPACITY_LOGITS = 2,    // opacities are logits
  FLAG_ANTIALIASED = 4,       // the opacity is compensated for the screen-space dilation
  FLAG_CENTER_FROM_POSE = 8,  // the camera center is -R^T t, and its gradient is added to that of the pose
  FLAG_CAMERA_GRADIENT = 16,  // the backward pass computes the gradient to pose and intrinsics
  FLAG_SAVE_STATES = 32,      // a backward pass will follow
  FLAG_INVERSE_DEPTH = 64,    // 1 / z is composited instead of z
};

const float LOG2E = 1.44269504f, LN2 = 0.69314718f;
// A splat contributes to a pixel where its alpha is at least ALPHA_CUT; alpha is clamped to ALPHA_MAX. A pixel is finished
// before the splat that would bring its transmittance below TRANSMITTANCE_STOP.
const float ALPHA_CUT = 1.0f / 255.0f, LOG2_ALPHA_CUT = -7.99435344f, ALPHA_MAX = 0.99f, TRANSMITTANCE_STOP = 1e-4f;
// Square pixels added to both screen variances, and the least ratio of the determinants before and after (antialiasing).
const float DILATION = 0.3f, COMPENSATION_FLOOR = 2.5e-5f;
// Quaternions of other lengths are culled: their squares are not exact, or not finite, in float32.
const float QUATERNION_SHORTEST = 1e-15f, QUATERNION_LONGEST = 1e15f;
// Colors, screen positions, variances and opacities from here on are culled, as are infinities and NaN.
const float LARGEST = 1e30f;
