#version 330 core
// A rectangle in clip space, from a strip of four vertices without any buffer; uv has its origin top left.

uniform vec4 rectangle;  // left, bottom, right, top in clip units

out vec2 uv;

void main() {
    vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);
    uv = vec2(corner.x, 1.0 - corner.y);
    gl_Position = vec4(mix(rectangle.xy, rectangle.zw, corner), 0.0, 1.0);
}
