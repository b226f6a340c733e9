#version 330 core
// Distance from the eye as a ramp whose brightness falls all the way, from cream (near) to deep blue (far).

uniform vec2 depth_range;  // nearest and farthest distance along the optical axis, mm

const vec3 RAMP[5] = vec3[5](
    vec3(1.00, 0.96, 0.84), vec3(0.99, 0.72, 0.42), vec3(0.82, 0.36, 0.40),
    vec3(0.41, 0.19, 0.46), vec3(0.10, 0.09, 0.27));

in vec3 eye_position;

out vec4 colour;

void main() {
    float share = (eye_position.z - depth_range.x) / (depth_range.y - depth_range.x);
    float place = clamp(share, 0.0, 1.0) * 4.0;
    int below = min(int(place), 3);
    colour = vec4(mix(RAMP[below], RAMP[below + 1], place - float(below)), 1.0);
}
