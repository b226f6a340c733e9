#version 330 core
// Each corner's distance to the opposite edge in picture pixels, interpolated without perspective:
// single-pass wireframe rendering (Baerentzen, Nielsen, Gjoel, Larsen and Christensen 2006).

layout(triangles) in;
layout(triangle_strip, max_vertices = 3) out;

uniform vec2 picture_size;  // pixels

in vec3 eye_position[];
in vec3 eye_normal[];

noperspective out vec3 edge_distance;
flat out float line_width;
out vec3 normal;
out vec3 position;

void main() {
    vec2 p[3];
    for (int i = 0; i < 3; i++) {
        p[i] = gl_in[i].gl_Position.xy / gl_in[i].gl_Position.w * 0.5 * picture_size;
    }
    float area = abs((p[1].x - p[0].x) * (p[2].y - p[0].y) - (p[2].x - p[0].x) * (p[1].y - p[0].y));
    vec3 edges = vec3(length(p[1] - p[2]), length(p[2] - p[0]), length(p[0] - p[1]));
    float inradius = area / max(edges.x + edges.y + edges.z, 1e-6);
    for (int i = 0; i < 3; i++) {
        edge_distance = vec3(0.0);
        edge_distance[i] = area / max(edges[i], 1e-6);
        line_width = min(0.75, 0.3 * inradius);  // small triangles get finer lines, not a solid sheet
        normal = eye_normal[i];
        position = eye_position[i];
        gl_Position = gl_in[i].gl_Position;
        EmitVertex();
    }
    EndPrimitive();
}
