#version 330 core
// Lines along the triangles' edges over a dark surface that hides what lies behind it.

const vec3 LINE = vec3(0.55, 0.86, 0.95);
const vec3 SURFACE = vec3(0.055, 0.075, 0.095);

noperspective in vec3 edge_distance;
flat in float line_width;
in vec3 normal;
in vec3 position;

out vec4 colour;

void main() {
    float nearest = min(edge_distance.x, min(edge_distance.y, edge_distance.z));
    float line = 1.0 - smoothstep(line_width, line_width * 2.0 + 0.25, nearest);
    float facing = abs(dot(normalize(normal), normalize(position)));
    colour = vec4(mix(SURFACE, LINE * (0.35 + 0.65 * facing), line), 1.0);
}
